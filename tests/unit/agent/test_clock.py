from __future__ import annotations

from license_manager.clock import Anchor, TrustedClock, since_boot, this_boot


class Hands:
    """A wall clock that can be set, and a boot clock that can't."""

    wall = 1000.0
    monotonic = 50.0

    def clock(self, high_water: float = 0.0, anchor: Anchor | None = None, boot_id: str = "one") -> TrustedClock:
        return TrustedClock(
            high_water, anchor, wall=lambda: self.wall, monotonic=lambda: self.monotonic, boot_id=boot_id
        )


def test_follows_the_wall_clock() -> None:
    assert Hands().clock().now() == 1000.0


def test_never_goes_below_what_was_seen() -> None:
    assert Hands().clock(high_water=5000.0).now() == 5000.0


def test_counts_on_from_the_anchor_while_the_wall_clock_is_turned_back() -> None:
    hands = Hands()
    clock = hands.clock(anchor=Anchor(10_000.0, 50.0, "one"))
    hands.monotonic += 86400
    hands.wall = 10.0
    assert clock.now() == 96_400.0
    assert clock.turned_back() == 96_390.0


def test_the_anchor_of_another_boot_says_nothing() -> None:
    assert Hands().clock(anchor=Anchor(10_000.0, 0.0, "another")).now() == 1000.0


def test_a_lower_boot_clock_tells_a_reboot_where_boots_have_no_names() -> None:
    assert Hands().clock(anchor=Anchor(10_000.0, 60.0, ""), boot_id="").now() == 1000.0


def test_five_minutes_are_nothing() -> None:
    assert Hands().clock(high_water=1300.0).turned_back() == 0.0
    assert Hands().clock(high_water=1301.0).turned_back() == 301.0


def test_never_runs_backwards_within_a_process() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.wall = 9000.0
    clock.now()
    hands.wall = 10.0
    assert clock.now() == 9000.0


def test_a_fresh_authenticated_time_lowers_a_mark_that_was_too_high() -> None:
    clock = Hands().clock(high_water=99_999.0)
    clock.authenticated(1001.0, fresh=True)
    assert clock.now() == 1001.0


def test_an_old_authenticated_time_lowers_nothing() -> None:
    clock = Hands().clock(high_water=99_999.0)
    clock.authenticated(1001.0, fresh=False)
    assert clock.now() == 99_999.0
    assert clock.anchor is None


def test_planning_ignores_a_wall_clock_that_is_years_ahead() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.authenticated(1000.0, fresh=True)
    hands.wall = 1e9
    hands.monotonic += 5
    assert clock.best_guess() == 1005.0


def test_the_real_clocks_run() -> None:
    assert since_boot() <= since_boot()
    assert isinstance(this_boot(), str)
