"""What all cases that violate a law in one way have in common: their facts, and what came out instead.

``--update-ledger`` makes an entry of that, whose region is as narrow as what was seen.
"""

from collections.abc import Mapping
from typing import Any

from embcheck.core.result import Difference
from embcheck.core.wrong_results.judgement import INSTEAD, NUMERIC, is_known, observation

#: Different values of one observation that are told one by one.
_VALUES = 8
#: Judgements that hold of too much to tell anything.
_IDLE = ("anything", "other steps")

#: Facts under "where"; under "instead", for each observation, the "words" of judgements and the "values" that came out.
Shared = dict[str, Any]


def seen(case: Any, found: Difference) -> Shared:
    """What a single case tells; where the kind of a difference says itself what came out, nothing more is told of that."""
    facts = region(case.facts())
    if found.kind.partition(":")[0] not in NUMERIC:
        return {"where": facts, "instead": {}}
    # The value as Python writes it; none where there is a tensor of them, or no literal.
    plain = found.elements is None and type(found.got) in (bool, int, str, type(None))
    words = [each for each in sorted(INSTEAD) if each not in _IDLE and is_known(each, case, found)]
    return {"where": facts, "instead": {observation(found): {"words": words, "values": [repr(found.got)] * plain}}}


def region(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that a region is made of: numbers are left out, for they would name single cases."""
    return {name: fact for name, fact in facts.items() if type(fact) in (bool, str)}


def both(one: Mapping[str, Any], other: Mapping[str, Any]) -> Shared:
    """What two have in common; of an observation that only one knows, what that one says."""
    where = {name: fact for name, fact in one["where"].items() if other["where"].get(name) == fact}
    instead = {**one["instead"], **other["instead"]}
    for name in one["instead"].keys() & other["instead"].keys():
        a, b = one["instead"][name], other["instead"][name]
        values = [*dict.fromkeys([*a["values"], *b["values"]])] if a["values"] and b["values"] else []
        words = [each for each in a["words"] if each in b["words"]]
        instead[name] = {"words": words, "values": values if len(values) <= _VALUES else []}
    return {"where": where, "instead": instead}


def in_words(instead: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """As a ledger says it: of each observation its values, else a judgement that held each time, else anything."""
    told = {}
    for name, found in instead.items():
        values = found["values"]
        literal = f"= {values[0]}" if len(values) == 1 else f"in [{', '.join(values)}]"
        told[name] = literal if values else next(iter(found["words"]), "anything")
    return told
