"""What fhirkit-rs says of each line of a corpus: {name, told: [places of errors], first: its first text}.

usage: python bench/agreement/rust.py CORPUS
"""

import json
import sys

import fhirkit


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as corpus:
        for line in corpus:
            one = json.loads(line)
            try:
                issues = [issue for issue in fhirkit.validate(one["body"]) if issue.severity == "error"]
                told, first = [issue.path for issue in issues], issues[0].message if issues else ""
            except ValueError as fault:
                told, first = [""], str(fault)
            print(json.dumps({"name": one["name"], "told": told, "first": first}))


if __name__ == "__main__":
    main()
