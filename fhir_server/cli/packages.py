"""`fhir-server packages`: install, list and remove FHIR packages."""

from __future__ import annotations

from pathlib import Path

from fhir_server.cli.desk import at_desk
from fhir_server.cli.faults import DONE, INCOMPLETE, WRONG_USE, CannotRun
from fhir_server.cli.person import act, on_record
from fhir_server.config import DATA_ROOT, Settings
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.packages import NotAPackage, read_package
from fhir_server.interactions import packages
from fhir_server.interactions.exchange import Context
from fhir_server.operations.publish import publish_packages
from fhir_server.store.values import Installed


def install(settings: Settings, path: Path, strict: bool) -> int:
    """Installs and tells what is wrong with it; the exit code. Raises CannotRun for what is no package of R4."""
    try:
        package = read_package(path, Definitions.load(DATA_ROOT))
    except (NotAPackage, OSError) as fault:
        raise CannotRun(str(fault), WRONG_USE) from None

    async def work(opened: Context) -> Installed:
        plan = await packages.plan(opened, package)
        if not strict or not plan.installed.facts["problems"]:
            await on_record(opened, "configure", (("package", plan.installed.identity),))
            await packages.install(opened, plan)
            await publish_packages(opened)
        return plan.installed

    made = act(settings, "packages install", work)
    if strict and made.facts["problems"]:
        _tell_problems(made)
        print(f"{package.id} was not installed: {len(made.facts['problems'])} problems.")
        return INCOMPLETE
    counts = ", ".join(f"{count} {type}" for type, count in sorted(made.facts["counts"].items()))
    print(f"Installed {made.identity}: {counts or 'nothing that takes effect'}.")
    for type, count in sorted(package.passed_over.items()):
        print(f"  passed over: {count} {type}")
    _tell_problems(made)
    return DONE


def show(settings: Settings) -> None:
    """One line a package, and its problems below it."""
    for package in at_desk(settings, "packages list", lambda desk: desk.store.packages()):
        counts = ", ".join(f"{count} {type}" for type, count in sorted(package.facts["counts"].items()))
        print(f"{package.identity}  {package.facts['title']}")
        print(f"  {counts}")
        _tell_problems(package)


def remove(settings: Settings, name: str) -> None:
    """Removes the one package that the name means. Raises CannotRun when none does, or several."""

    async def work(opened: Context) -> tuple[Installed, list[str]]:
        installed = await opened.store.packages()
        found = [one for one in installed if name in (one.identity, one.identity.partition(" ")[0], one.facts["name"])]
        if len(found) != 1:
            known = ", ".join(repr(one.identity) for one in found or installed) or "none"
            raise CannotRun(f"{name!r} means {len(found)} packages; installed: {known}.", WRONG_USE)
        await on_record(opened, "configure", (("removed package", found[0].identity),))
        await opened.store.uninstall(found[0].identity)
        await publish_packages(opened)
        return found[0], packages.dependents(found[0], installed)

    gone, dependents = act(settings, "packages remove", work)
    print(f"Removed {gone.identity}.")
    for one in dependents:
        print(f"  {one} depends on it and goes on without it")


def _tell_problems(package: Installed) -> None:
    for problem in package.facts["problems"]:
        print(f"  problem: {problem}")
