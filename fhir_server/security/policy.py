"""The policy: from a caller and what its token grants to its Rights. The one place that decides who may do what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.errors import FhirError
from fhir_server.interactions.consenting import TYPE as CONSENT
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.rights import ACTIONS, Action, Caller, Rights, any_change, as_sent
from fhir_server.search.compartments import PATIENT, SECURED
from fhir_server.search.parse import parse_parameter
from fhir_server.search.result_parameters import Unusable
from fhir_server.search.tree import And, Leaf
from fhir_server.security.authorship import Authorship
from fhir_server.security.callers import Identity
from fhir_server.security.people import People
from fhir_server.security.scopes import Scope
from fhir_server.security.sight import (
    Consented,
    Sights,
    TypeLists,
    conjoined,
    either,
    everything,
    of_organisation,
    of_patients,
    of_unit,
    with_consent,
    within,
)
from fhir_server.store.values import NOTHING, Filter, View

_ENFORCEABLE = ("token", "reference", "uri")  # types of parameters that a scope may hold
_REASONS = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_CITIZENS = ("Patient", "RelatedPerson", "Person")


@dataclass(frozen=True, slots=True)
class Standing:
    """What binds a caller, for one request. patients: whom a citizen may act for."""

    identity: Identity
    patients: tuple[str, ...]
    unit: str | None
    reported: Mapping[str, Filter]

    @property
    def is_citizen(self) -> bool:
        user = self.identity.caller.user
        return user.partition("/")[0] in _CITIZENS if user else self.identity.caller.patient is not None

    @property
    def is_free(self) -> bool:
        """True for who runs the installation: bound to nobody, and meant to be."""
        caller = self.identity.caller
        return self.identity.unbound and caller.organisation is None and caller.unit is None


@dataclass(frozen=True, slots=True)
class Given:
    """What a caller may do. lasts: False where representation, which can end at any time, is asked anew each time."""

    rights: Rights
    lasts: bool
    standing: Standing


class Policy:
    """One for the server. types: how access control divides the resource types."""

    def __init__(self, types: TypeLists) -> None:
        self.types = types
        self._grown: dict[str, int] = {}
        self._labelled: dict[int, dict[str, Filter]] = {}  # by the generation of the search keys

    @classmethod
    async def open(cls, lists: Mapping[str, Any], context: Context) -> Policy:
        """lists: profiles/vn_basic/access.json. The label of patients' own reports is given a number at once, for what
        bears it is found by it."""
        every = frozenset(context.capability.types)
        types = TypeLists.of(lists, every, context.search.parameters.compartment(PATIENT) | SECURED.keys())
        await context.store.intern([types.patient_reported["system"]])
        return cls(types)

    async def given(self, context: Context, identity: Identity, before: Given | None = None) -> Given:
        """What the caller may do. before: what it was last time, which is it still while the standing is the same."""
        standing = await self._standing(context, identity)
        if before is not None and before.standing == standing:
            return before
        rights = await self._rights(context, standing)
        return Given(rights, not standing.is_citizen or standing.patients == (_self(identity),), standing)

    async def _rights(self, context: Context, standing: Standing) -> Rights:
        identity = standing.identity
        asked = await _asked(context, standing.identity.caller)
        views = {action: await self._view(context, standing, asked, action) for action in ACTIONS}
        author = self._author(context, standing)
        return Rights(
            views,
            None if "*" in identity.scopes.operations else identity.scopes.operations,
            author.sign if author else as_sent,
            author.judge if author else any_change,
            provenance=author is not None and author.is_citizen,
            places_patients=identity.caller.organisation is not None and not standing.is_citizen,
        )

    async def _standing(self, context: Context, identity: Identity) -> Standing:
        caller = identity.caller
        type = (caller.user or "").partition("/")[0]
        asked = any(scope.context in ("patient", "user") for scope in identity.scopes.grants)
        is_citizen = type in _CITIZENS or (caller.user is None and caller.patient is not None)
        patients = await People(context, self._grown).represented(caller) if is_citizen and asked else ()
        unit = context.rules.residences.unit(caller.unit) if caller.unit else None
        reported = await self._reported(context) if patients and _writes(identity) else {}
        return Standing(identity, patients, unit, reported)

    async def _reported(self, context: Context) -> dict[str, Filter]:
        """By type, what bears the label of a patient's own report."""
        generation = context.store.registry.generation
        if generation not in self._labelled:
            label = self.types.patient_reported
            wanted = (("_security", f"{label['system']}|{label['code']}"),)
            found = {type: await _conditions(context, type, wanted) for type in self.types.citizen_writes}
            self._labelled = {generation: {type: filter for type, filter in found.items() if filter is not None}}
        return self._labelled[generation]

    async def _view(self, context: Context, standing: Standing, asked: Consented, action: Action) -> View:
        seen: Sights = {}
        for scope in standing.identity.scopes.grants:
            if action in scope.actions:
                sights = self._within_scope(standing, scope, action)
                # Consents bind all but the patients themselves, those who act for them, and those whom nothing binds.
                if not (standing.is_citizen or standing.is_free):
                    sights = with_consent(self.types, sights, asked)
                seen = either(seen, await _constrained(context, scope, sights))
        if CONSENT in seen and action in ("update", "delete") and not (standing.is_citizen or standing.is_free):
            seen[CONSENT] = conjoined(seen[CONSENT], await self._not_of_patients(context))
        sensitivities = context.rules.allowed_sensitivities(standing.identity.scopes.sensitive)
        open_to_all: Filter = {"s": sensitivities[0]} if len(sensitivities) == 1 else {"s": {"$in": sensitivities}}
        if len(sensitivities) == 1 << len(context.rules.restricted):
            return View(seen, NOTHING)
        return View({type: conjoined(filter, open_to_all) for type, filter in seen.items()}, NOTHING)

    async def _not_of_patients(self, context: Context) -> Filter:
        """Consents that are not what patients have said themselves: those nobody else changes or takes away."""
        own = (await self._reported(context)).get(CONSENT)
        return {"$nor": [own]} if own is not None else NOTHING

    def _within_scope(self, standing: Standing, scope: Scope, action: Action) -> Sights:
        """What the caller sees under one scope, of the types that it names."""
        sights = self._by_context(standing, scope.context, action)
        return sights if scope.type is None else {t: f for t, f in sights.items() if t == scope.type}

    def _by_context(self, standing: Standing, context: str, action: Action) -> Sights:
        caller = standing.identity.caller
        if context == "patient":
            if caller.patient is None:
                return {}
            if standing.is_citizen:
                return of_patients(self.types, action, standing.patients, standing.reported)
            return within(self._of_patient_chosen(caller.patient, action), self._by_role(standing, action))
        if context == "user" and standing.is_citizen:
            return of_patients(self.types, action, standing.patients, standing.reported)
        return self._by_role(standing, action)

    def _of_patient_chosen(self, patient: str, action: Action) -> Sights:
        """A practitioner's app that was launched for one patient sees no other."""
        own: Filter = {"p": patient}
        chosen: Sights = dict.fromkeys(self.types.compartment, own)
        return dict.fromkeys(self.types.directory) | chosen if action in ("read", "search") else chosen

    def _by_role(self, standing: Standing, action: Action) -> Sights:
        caller = standing.identity.caller
        seen: Sights = {}
        if caller.organisation is not None:
            seen = either(seen, of_organisation(self.types, action, caller.organisation))
        if standing.unit is not None:
            seen = either(seen, of_unit(self.types, action, standing.unit))
        is_bound = caller.organisation is not None or caller.unit is not None
        if standing.identity.unbound and not is_bound:
            return everything(self.types, action)
        return seen

    def _author(self, context: Context, standing: Standing) -> Authorship | None:
        if standing.is_free and not standing.is_citizen:
            return None
        sender = None if standing.is_citizen else standing.identity.caller.organisation
        return Authorship(self.types, context.rules, standing.is_citizen, sender)


async def _asked(context: Context, caller: Caller) -> Consented:
    """The caller as Consents name one. Who asks for a kind of a purpose asks for that purpose, too."""
    named = [caller.user, f"Organization/{caller.organisation}" if caller.organisation else None]
    actors = tuple(one.replace("/", ":") for one in named if one is not None)
    reasons = await context.terminology.ask(lambda known: known.code_system(_REASONS)) if caller.purposes else None
    kinds = {above for one in caller.purposes for above in reasons.ancestors(one)} if reasons else set()
    every = range(1 << len(context.rules.restricted))
    classes = {one.bit: [value for value in every if value & one.bit] for one in context.rules.restricted}
    return Consented(actors, tuple(sorted({*caller.purposes, *kinds})), classes)


async def _constrained(context: Context, scope: Scope, sights: Sights) -> Sights:
    """The sights of a scope with its search parameters. A type that does not have one of them is not granted."""
    if not scope.constraints:
        return sights
    found: Sights = {}
    for type, filter in sights.items():
        condition = await _conditions(context, type, scope.constraints)
        if condition is not None and condition != NOTHING:
            found[type] = conjoined(filter, condition)
    return found


async def _conditions(context: Context, type: str, pairs: tuple[tuple[str, str], ...]) -> Filter | None:
    """The filter of a scope's search parameters; None when one of them cannot be held against a stored document alone:
    a chain, a negation, a date, a parameter that the type does not have."""
    nodes = []
    for name, value in pairs:
        try:
            node = parse_parameter(context.search.parameters, type, name, value)
        except (FhirError, Unusable):
            return None
        if not isinstance(node, Leaf) or node.param.type not in _ENFORCEABLE or node.modifier == "missing":
            return None
        nodes.append(node)
    try:
        filter = await context.search.filter(And(tuple(nodes)), context.store, context.base, context.clock())
    except FhirError:
        return None
    return filter if _is_of_keys(filter) else None


def _is_of_keys(filter: Filter) -> bool:
    """True when only the presence of keys is asked: the absence of a key proves nothing in an old version."""
    for name, wanted in filter.items():
        if name in ("$and", "$or"):
            if not all(_is_of_keys(part) for part in wanted):
                return False
        elif name == "k":
            if isinstance(wanted, Mapping) and not set(wanted) <= {"$in", "$elemMatch"}:
                return False
        elif filter != NOTHING:
            return False
    return True


def _self(identity: Identity) -> str | None:
    """The patient that a caller is, when it is the only one asked for."""
    caller = identity.caller
    return caller.patient if caller.user in (None, f"Patient/{caller.patient}") else None


def _writes(identity: Identity) -> bool:
    return any(scope.actions - {"read", "search"} for scope in identity.scopes.grants)
