"""The claims as they are told: by tutorial, with the original words and what they mean, and how likely chance decides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from records import printed_by

from embcheck.claims import distributions, pairs
from embcheck.claims.appraisal import Appraised, Observations, appraise, chosen, every_claim
from embcheck.claims.case import EXPERIMENTS, ClaimCase, plan
from embcheck.claims.claim import BETWEEN_TWO, BY_DISTANCE, NONE, TUTORIALS, Chance, Claim, alike, narrow, zero_row
from embcheck.claims.report import claims_report, closing, story_lines
from embcheck.claims.weight_tying import raced
from embcheck.core.claim_record import REFUTED
from embcheck.core.ledger import Ledger
from embcheck.core.result import HOLDS as TRUE
from embcheck.core.verdict import Status, Verdict
from embcheck.engine.execute import run
from embcheck.families.initializers.oracle import DELTA, Spread, allowed_distance, distance
from embcheck.modes.mode import MODES

CLAIMS = every_claim()
PAGE = (Path(__file__).parent.parent / "docs" / "claims.md").read_text(encoding="utf-8")


pytestmark = pytest.mark.usefixtures("one_thread")


# -- words ---------------------------------------------------------------------------------------------------------


def chinese(text: str) -> bool:
    return any("一" <= sign <= "鿿" for sign in text)


def test_every_quote_and_title_is_told_in_english() -> None:
    assert [name for name, made in CLAIMS.items() if chinese(made.told.gloss)] == []
    assert [told.file for told in TUTORIALS.values() if chinese(told.gloss) or not told.gloss] == []


def test_what_is_refuted_is_said_in_words_of_its_own() -> None:
    """Another claim may read the same words so that they hold; and what a comment takes out of a program is not said."""
    quotes = [(made.told.tutorial.file, made.told.quote, name) for name, made in CLAIMS.items()]
    refuted = [each for each in quotes if CLAIMS[each[2]].told.verdict == REFUTED]
    shared = [
        (n, m) for file, quote, n in refuted for other, said, m in quotes if n != m and file == other and quote in said
    ]
    assert shared == []
    assert [name for _, quote, name in quotes if quote.startswith("#")] == []


@pytest.mark.parametrize(
    ("name", "word", "read"),
    [
        ("conversion.transpose_needed", "通常", "usually"),
        ("token.padding_idx_masks", "掩码", "masking"),
    ],
)
def test_a_sentence_says_what_its_words_say(name: str, word: str, read: str) -> None:
    told = CLAIMS[name].told
    assert word in told.quote
    assert read in told.gloss
    assert read in told.sentence


# -- order ---------------------------------------------------------------------------------------------------------


def appraised(made: Claim) -> Appraised:
    """A claim as if its cases had been judged."""
    seen = Observations()
    for situation in made.where:
        seen.note(situation, situation not in made.fails, "seen")
    held = Verdict(made.law, "tutorial_claims", "torch", "eager", "all", Status.HOLDS, cases=len(made.where))
    return Appraised(made, held, seen)


@pytest.mark.parametrize("name", ["token.default_uniform", "full.padding_not_updated", "linear.layers_are_separate"])
def test_a_claim_is_told_with_all_that_decides_it(name: str) -> None:
    made = CLAIMS[name]
    told = made.told
    text, tutorial = printed_by(lambda out: claims_report(out, [appraised(made)])), told.tutorial
    for words in (tutorial.title, tutorial.gloss, told.source, told.quote, told.gloss, told.sentence, told.decided):
        assert words in text
    assert ("chance of judging a right torch wrong" in text) == (told.chance is not None)
    (line, *_) = [line for line in story_lines(made, [], [(None, "seen", "")]) if "# source:" in line]
    assert line == f"# source:   {told.source} {told.said}"


def test_the_page_shows_what_is_printed() -> None:
    shown = PAGE.partition("```text\n")[2].partition("```")[0].splitlines()
    found = [one for group, _ in appraise(chosen("xavier"), 0, Ledger()) for one in group]
    text = printed_by(lambda out: claims_report(out, found)).splitlines()
    *lines, last = shown
    assert len(lines) > 6
    assert [line for line in lines if line not in text] == []
    assert last.startswith(closing(found, torch.__version__, 0, "").partition(" · torch")[0])


# -- chance --------------------------------------------------------------------------------------------------------


def observed(case: ClaimCase) -> dict[str, Any]:
    """What a program shows, as values that compare equal where they are."""

    def plain(value: Any) -> Any:
        return (value.dtype, value.detach().to_dense().numpy().tobytes()) if isinstance(value, torch.Tensor) else value

    out = run(plan(case), MODES["eager"])
    assert out.error is None
    return {name: plain(value) for name, value in out.seen.items()}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_claim_states_its_chance_where_its_program_draws(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another generator shows other values: as if each seed gave other numbers."""
    seeding: Callable[[int], Any] = torch.manual_seed
    draws = set()
    for case in EXPERIMENTS[name].firsts():
        if name == "race" and "targets" not in str(case.situation):
            continue  # it takes seconds, and draws alike in each situation
        shown = []
        for shift in (1000, 2000):
            monkeypatch.setattr(torch, "manual_seed", lambda seed, shift=shift: seeding(seed + shift))
            seeding(shift)
            shown.append(observed(case))
        draws |= {case.situation} if shown[0] != shown[1] else set()
    own = [made for made in CLAIMS.values() if made.experiment == name]
    stated = {made.told.id for made in own if made.told.chance is not None}
    assert stated == {made.told.id for made in own if draws & set(made.where)}
    assert all(made.told.chance is None or 0 <= made.told.chance <= DELTA for made in own)


def sizes_of(made: Claim) -> tuple[tuple[int, int], ...]:
    experiment = EXPERIMENTS[made.experiment]
    assert experiment.large, "no random case has another size"
    return experiment.sizes


def chance_of(name: str) -> tuple[float | None, str]:
    return CLAIMS[name].told.chance, CLAIMS[name].told.bound_by


def claims_with(chance: Chance) -> list[Claim]:
    found = [made for made in CLAIMS.values() if (made.told.chance, made.told.bound_by) == chance]
    assert found
    return found


def test_two_distributions_are_told_apart_by_one_event() -> None:
    """If values are as near to the true distribution as they should be, they are too far from the one that is claimed."""
    pairs: dict[str, Callable[[ClaimCase], tuple[Spread, Spread]]] = {
        "token.default_uniform": lambda case: (distributions.by_width(case), distributions.normal(case)),
        "token.default_xavier": lambda case: (distributions.xavier(case), distributions.normal(case)),
    }
    assert {made.told.id for made in claims_with(BETWEEN_TWO)} == set(pairs)
    grid = np.linspace(-4, 4, 4001)
    for name, pair in pairs.items():
        for rows, width in sizes_of(CLAIMS[name]):
            case = ClaimCase(CLAIMS[name].experiment, "", rows, width, (1,))
            claimed, true = pair(case)
            apart = np.abs(claimed.cumulative(grid) - true.cumulative(grid)).max()
            assert apart > 2 * allowed_distance((rows - 1) * width, case.format)


def test_the_bound_of_the_distance_is_that_of_its_test() -> None:
    """At the distance that is allowed the probability of a larger one is the one that is stated."""
    for made in claims_with(BY_DISTANCE):
        for rows, width in sizes_of(made):
            case = ClaimCase(made.experiment, made.where[0], rows, width, (1,))
            rounding = 2 * case.format.unit_roundoff + 1e-8
            n = rows * width
            stated = 2 * np.exp(-2 * n * (allowed_distance(n, case.format) - rounding) ** 2)
            assert abs(stated / BY_DISTANCE.bound - 1) < 1e-9
            spread = distributions.normal(case)
            quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).numpy()
            assert distance(quantiles, spread) < allowed_distance(n, case.format) < distance(quantiles + 0.2, spread)


def test_the_sizes_that_chances_speak_of_are_those_of_the_cases() -> None:
    least = min(rows * width for rows, width in sizes_of(CLAIMS["linear.initialised_at_once"]))
    assert chance_of("linear.initialised_at_once") == alike(least)
    least = min(width for _, width in sizes_of(CLAIMS["token.row_zeroed_afterwards"]))
    assert chance_of("token.row_zeroed_afterwards") == zero_row(least)
    assert chance_of("token.padding_row_fixed_zero") == zero_row(8)
    narrowest = ClaimCase("padding_trained", "Xavier", 3, 1, (2, 4))
    assert run(plan(narrowest), MODES["eager"]).before.raw.shape == (8,)
    sizes = sizes_of(CLAIMS["linear.only_input_differs"])
    assert chance_of("linear.only_input_differs") == narrow(min(rows * width for rows, width in sizes), 0.26)
    # What is judged: a deviation that rounds to more than 0.5 in three digits; Linear's values are below 1/√V.
    assert 0.5005**2 < 0.26
    assert all(rows**-0.5 < 0.5 for rows, _ in sizes)


def test_the_bound_of_a_variance_holds_where_it_can_be_computed() -> None:
    """χ² with 2 degrees is twice an exponential: P(χ² ≤ 2x) = 1 - e^-x."""
    for share in (0.01, 0.26, 0.9):
        exact = 1 - np.exp(-share)
        assert exact <= narrow(3, share).bound < 3 * exact
    assert narrow(64 * 256, 0.26).bound <= 1.01e-300


def test_no_number_is_drawn_more_often_than_is_said() -> None:
    """All 2²⁴ patterns of a draw, rounded in float32 as U(−a, a) is: each number comes from two at most."""
    pattern = torch.arange(2**24, dtype=torch.int64)
    for half in (0.5, (6 / 11) ** 0.5, 6**0.5):
        values = (pattern.float() * 2.0**-24) * torch.tensor(2 * half) - half
        _, counts = values.unique_consecutive(return_counts=True)  # they rise
        assert int(counts.max()) <= 2


def test_whatever_is_drawn_the_same_comes_out() -> None:
    assert {made.experiment for made in claims_with(NONE)} == {"two_sentences"}
    for made in claims_with(NONE):
        for seed in (10**6, 10**9):
            case = ClaimCase("two_sentences", "", 100, 6, (2, 4), seed=seed)
            assert made.judge(case, run(plan(case), MODES["eager"])) == TRUE


def test_rounding_decides_no_race(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The winners are the same from first values that differ by more than any rounding; in the first situation a loss comes
    nearest to the threshold."""
    original = pairs.scattered
    situations = ("as written, but 30×8", *(EXPERIMENTS["race"].situations if full else ()))
    for situation in situations:
        case = ClaimCase("race", situation, 10, 3, (2, 3), "float64")
        won = []
        for change in (0.0, 1e-9):
            monkeypatch.setattr(pairs, "scattered", lambda *shape, change=change: original(*shape) * (1 - change))
            out = run(plan(case), MODES["eager"])
            won.append(raced(out.tied, out.untied))
        assert won[0] == won[1]
        assert sum(won[0]) > 40


def test_the_tokens_of_the_race_are_those_of_the_text() -> None:
    torch.manual_seed(0)
    assert torch.randint(0, 10, (2, 3)).flatten().tolist() == pairs.TOKENS


def test_given_numbers_have_no_pattern() -> None:
    """They are spread as independent ones are, and so are pairs of neighbours."""
    numbers = pairs.scattered(1, 40_000)
    assert distance(numbers.numpy(), Spread(0.5, 0.5, True)) < allowed_distance(40_000, ClaimCase("race").format)
    neighbours = torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))[0, 1]
    assert abs(neighbours) < 6 / 40_000**0.5
    assert torch.equal(numbers[:5], pairs.scattered(1, 5))
