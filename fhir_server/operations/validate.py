"""$validate: whether a resource could be stored, changed or deleted, and conforms to profiles. R4 Validating Resources.

Nothing is ever stored. The answer is 200 whatever is found; another status means that nothing could be validated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from fhir_server.definitions.operations import Parameter
from fhir_server.errors import FhirError, Issue, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import language
from fhir_server.interactions.integrity import refuse_dangling, refuse_orphans
from fhir_server.interactions.packages import adopt_packages
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.unlisted import unlisted_codes
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import Resource, content_of, decode, encode
from fhir_server.operations.parameters import Arguments, arguments
from fhir_server.store.contract import Transaction
from fhir_server.store.values import Draft, Indexed
from fhir_server.terminology.load import Terminology
from fhir_server.validation.conformance import Conformance
from fhir_server.validation.validate import Validator

DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
MODES = ("create", "update", "delete", "profile")
# R4 lets `profile` be named once; here each one that is named is looked at.
_PROFILES = Parameter("profile", "uri", many=True)
_ALL_WELL = Issue("information", "informational", "no fault was found", vi="không tìm thấy lỗi nào")


async def validate_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """At a type: of the resource sent. At an instance: of the resource sent, or of the stored one without any."""
    type, id = request.segments[0], request.segments[1] if len(request.segments) == 3 else None
    asked = arguments(context, request, DEFINITION, unchecked=("resource",), more=(_PROFILES,))
    mode = asked.one("mode")
    resource = await _resource(context, type, id, asked)
    await _take_up(context, asked.all("profile"))
    issues = await context.terminology.ask(lambda known: _by_content(context.validator, resource, type, asked, known))
    if not any(issue.is_error for issue in issues):
        issues += await unlisted_codes(context, resource)
    if mode in _CHECKS:
        issues += await _CHECKS[mode](context, type, id, resource)
    return FhirResponse(200, encode(outcome(issues or [_ALL_WELL], language(request.headers))))


async def _resource(context: Context, type: str, id: str | None, asked: Arguments) -> Resource:
    """What is validated. Raises FhirError when that cannot be told, or is not there."""
    mode, sent = asked.one("mode"), asked.one("resource")
    if mode not in (None, *MODES):
        raise FhirError(Kind.VALUE, f"mode is one of {', '.join(MODES)}, not {mode[:32]!r}", asked.at("mode"))
    if mode in ("delete", "profile") and id is None:
        text = f"mode {mode} is about a stored resource: ask {type}/[id]/$validate (R4 resource-validation-mode)"
        raise FhirError(Kind.INVALID, text, asked.at("mode"))
    if mode == "profile" and ("profile" not in asked or sent is not None):
        text = "mode profile holds the stored resource against the profile that is named, and takes no other"
        raise FhirError(Kind.INVALID, text, asked.at("mode"))
    if sent is not None:
        return dict(sent)
    if id is None:
        raise FhirError(Kind.REQUIRED, "a resource is needed: as the body, or as the parameter resource", ("resource",))
    stored = await context.store.read(type, id, context.view)
    if stored is None or stored.deleted:
        kind = Kind.NOT_FOUND if stored is None else Kind.DELETED
        raise FhirError(kind, f"{type}/{id} is not there to be validated")
    return dict(decode(stored.raw))


async def _take_up(context: Context, profiles: tuple[str, ...]) -> None:
    """A profile that is not known may be of a package that was installed a moment ago."""
    conformance = context.validator.conformance
    if conformance is not None and any(conformance.profiles.get(one) is None for one in profiles):
        await adopt_packages(context)


def _by_content(
    validator: Validator, resource: Resource, type: str, asked: Arguments, known: Terminology
) -> list[Issue]:
    issues = validator.validate(resource, type, None, known)
    if validator.conformance is not None and not any(issue.is_error for issue in issues):
        issues += _by_profiles(validator.conformance, resource, asked, known)
    return issues


def _by_profiles(conformance: Conformance, resource: Resource, asked: Arguments, known: Terminology) -> Iterator[Issue]:
    for canonical, place in zip(asked.all("profile"), asked.at("profile"), strict=False):
        try:
            yield from conformance.faults_by(resource, canonical, known)
        except KeyError:
            text = f"the profile {canonical[:200]!r} is not loaded, so nothing was checked against it"
            vi = f"hồ sơ {canonical[:200]!r} chưa được nạp nên không kiểm tra theo hồ sơ này"
            yield Issue("error", "not-found", text, (place,), vi)
            continue
        absent = conformance.absent_must_support(resource, canonical, known)
        if absent is not None:
            yield absent


# --- what a mode asks beside the content -----------------------------------------------------------------------------


async def _create(context: Context, type: str, id: str | None, resource: Resource) -> list[Issue]:
    return await _writable(context, type, "create", resource)


async def _update(context: Context, type: str, id: str | None, resource: Resource) -> list[Issue]:
    own = resource.get("id")
    issues = await _writable(context, type, "update", resource)
    if own is None or own != (id or own):
        text = f"an update needs the id in the body, {id!r}" if id else "an update needs the id in the body"
        issues.append(Issue("error", "invalid", f"{text} (R4 RESTful API, update)", (f"{type}.id",)))
    return issues


async def _writable(context: Context, type: str, interaction: str, resource: Resource) -> list[Issue]:
    async def content(transaction: Transaction) -> None:
        draft = Draft(type, str(resource.get("id", "new")), resource, content_of(resource), Indexed())
        await refuse_dangling(context, transaction, {type: draft}, {(type, draft.id)}, ())

    issues = _told(lambda: writable_type(context, type, interaction))
    issues += _told(lambda: context.search.refuse_unfit(resource)) if resource.get("resourceType") == type else []
    return issues + await _told_of_store(context, content)


async def _delete(context: Context, type: str, id: str | None, resource: Resource) -> list[Issue]:
    async def orphans(transaction: Transaction) -> None:
        await refuse_orphans(context, transaction, (), {(type, str(id)): type})

    issues = _told(lambda: writable_type(context, type, "delete"))
    return issues + await _told_of_store(context, orphans)


def _told(check: Callable[[], None]) -> list[Issue]:
    try:
        check()
    except FhirError as fault:
        return list(fault.all_issues())
    return []


async def _told_of_store(context: Context, check: Callable[[Transaction], Awaitable[None]]) -> list[Issue]:
    """What referential integrity has against it, when the operator asks for that. The transaction only reads."""
    if not context.settings.check_references:
        return []
    try:
        await context.store.transact(check)
    except FhirError as fault:
        if fault.kind not in (Kind.BUSINESS_RULE, Kind.CONFLICT):
            raise
        return list(fault.all_issues())
    return []


_CHECKS = {"create": _create, "update": _update, "delete": _delete}
