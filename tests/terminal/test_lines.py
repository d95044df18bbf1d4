"""The lines that the terminal client shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.terminal.lines import (
    NAME_COLORS,
    STYLES,
    dim_line,
    error_line,
    local_time,
    mentions,
    message_line,
    name_style,
    notice_line,
    plain_text,
    private_line,
    rule_line,
)

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
ATTACK = "a\x1b[2J\x1b]0;title\x07b\nc\u202ed\x9b1mé"


def luminance(color: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class ColorTests(SynchronousTestCase):
    """Colours."""

    def test_every_color_can_be_read_on_black_and_on_white(self) -> None:
        """The contrast is at least 3 (WCAG 2.2, 1.4.11) on both."""
        colors = [word for style in STYLES.values() for word in style.split() if word[0] == "#"]
        self.assertGreaterEqual(len(colors), len(NAME_COLORS))
        for color in colors:
            light = luminance(color)
            self.assertGreaterEqual(1.05 / (light + 0.05), 3, color)
            self.assertGreaterEqual((light + 0.05) / 0.05, 3, color)

    def test_there_are_twelve_different_ones(self) -> None:
        """Names have twelve colours."""
        self.assertEqual(len(set(NAME_COLORS)), 12)

    def test_every_color_of_a_name_is_one_of_the_256(self) -> None:
        """A terminal with 256 colours shows exactly these, not the nearest."""
        steps = {"00", "5f", "87", "af", "d7", "ff"}
        for color in NAME_COLORS:
            self.assertLessEqual({color[1:3], color[3:5], color[5:7]}, steps)

    def test_a_name_keeps_its_color(self) -> None:
        """In any case, and in every process; different names get different colours."""
        self.assertEqual(name_style("Ann"), name_style("aNN"))
        self.assertEqual(name_style("ann"), "class:name-3")
        self.assertEqual(len({name_style(f"guest-{number}") for number in range(200)}), 12)

    def test_every_style_exists(self) -> None:
        """What the lines use is in the table."""
        made = [
            notice_line("a"), dim_line("a"), error_line("a"), rule_line("a"),
            message_line(NOON, "ann", "hi", style="class:mention"),
            private_line(NOON, "ann", "", "hi"),
        ]  # fmt: skip
        used = {style for line in made for style, _ in line if style}
        self.assertLessEqual({style.removeprefix("class:") for style in used}, set(STYLES))


class LineTests(SynchronousTestCase):
    """Lines."""

    def test_messages(self) -> None:
        """As ``nc`` shows them, after the time."""
        self.assertEqual(plain_text(message_line(NOON, "ann", "hi")), "12:00 <ann> hi")
        self.assertEqual(
            plain_text(message_line(NOON, "ann", "waves", action=True)), "12:00 * ann waves"
        )
        self.assertEqual(plain_text(message_line(None, "ann", "hi")), "--:-- <ann> hi")

    def test_private_messages(self) -> None:
        """Say from whom they are, or to whom."""
        self.assertEqual(plain_text(private_line(NOON, "ann", "", "hi")), "12:00 [from ann] hi")
        self.assertEqual(plain_text(private_line(NOON, "me", "ann", "hi")), "12:00 [to ann] hi")
        self.assertEqual(
            plain_text(private_line(NOON, "ann", "", "waves", action=True)),
            "12:00 [from ann] * ann waves",
        )

    def test_others_cannot_control_the_terminal(self) -> None:
        """No control character, escape sequence or override is left, in a text or in a name."""
        for line in (
            notice_line(ATTACK),
            dim_line(ATTACK),
            error_line(ATTACK),
            rule_line(ATTACK),
            message_line(NOON, ATTACK, ATTACK),
            message_line(NOON, ATTACK, ATTACK, action=True),
            private_line(NOON, ATTACK, "", ATTACK, action=True),
            private_line(NOON, ATTACK, ATTACK, ATTACK),
        ):
            text = plain_text(line)
            self.assertTrue(text.isprintable(), text)
            self.assertIn("abcdé", text)

    def test_times(self) -> None:
        """Are those of the zone; what is no time is None."""
        zone = timezone(timedelta(hours=2))
        when = local_time("2026-11-26T23:30:00.123Z", zone)
        assert when is not None
        self.assertEqual(f"{when:%d %H:%M}", "27 01:30")
        for wrong in ("", "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z"):
            self.assertIsNone(local_time(wrong, timezone(timedelta(hours=-2))), wrong)

    def test_mentions(self) -> None:
        """A name counts as a word, in any case, but not as a part of one."""
        for text in ("ann", "hi Ann!", "ANN: look", "(ann)", "@ann, ann's"):
            self.assertTrue(mentions(text, "ann"), text)
        for text in ("anna", "joann", "ann_x", "", "a n n"):
            self.assertFalse(mentions(text, "ann"), text)
        self.assertTrue(mentions("call a.b now", "a.b"))
        self.assertFalse(mentions("call axb now", "a.b"))
        self.assertFalse(mentions("anything", ""))
