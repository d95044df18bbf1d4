"""Tests of the names of users and rooms: :mod:`twisted_net.chat.names`, and who may have which."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.chat import make_unicode_names
from tests.chat.chat_peers import ChatCase
from tests.chat.test_session import INVISIBLE, NOW, SessionCase
from twisted_net.chat import names, unicode_names
from twisted_net.chat.actions import SendEvent
from twisted_net.chat.messages import Hello, NickSet, Notice, RequestError
from twisted_net.chat.registry import Registry
from twisted_net.chat.session import Session

CYRILLIC_ADMIN = "\u0430\u0501m\u0456n"
"""Not a name: its "m" and "n" are Latin."""


class NamesCase(SynchronousTestCase):
    def assertAlike(self, *alike: str) -> None:
        """Assert that each of these names has a key in common with the first one."""
        for name in alike[1:]:
            common = set(names.keys(alike[0])).intersection(names.keys(name))
            self.assertTrue(common, f"{alike[0]} and {name}")

    def assertDifferent(self, *different: str) -> None:
        """Assert that no two of these names have a key in common."""
        found: dict[str, str] = {}
        for name in different:
            for key in names.keys(name):
                self.assertNotIn(key, found, f"{name} and {found.get(key)}")
                found[key] = name

    def assertRefused(self, text: str, said: str) -> None:
        error = self.assertRaises(RequestError, names.nick, text)
        self.assertEqual((error.code, error.text), ("bad-name", said), ascii(text))


class ValidTests(NamesCase):
    """Which texts are names."""

    def test_names_with_marks(self) -> None:
        """Names whose vowels are marks are valid: Hindi, Tamil, Burmese, Thai and others."""
        for name in (
            "राहुल", "हिन्दी", "தமிழ்", "கார்த்திக்", "အောင်ဆန်း", "မောင်", "ปูชนีย์", "น้ำ", "ศิริพร",
            "బాలు", "ರವಿ", "മോഹൻ", "অনিল", "ગુજરાતી", "ਪੰਜਾਬੀ", "සුනිල්", "ភាសា", "ລາວ", "བོད",
            "עִבְרִית", "مُحَمَّد", "አማርኛ", "Nguyễn", "Łukasz", "राम-42", "a.b_c-\u0301",
        ):  # fmt: skip
            normal = unicodedata.normalize("NFKC", name)
            self.assertEqual(names.nick(name), normal, name)
            self.assertEqual(names.room(f"#{name}"), normal.casefold(), name)

    def test_a_mark_begins_no_name(self) -> None:
        """A name begins with a letter or a digit."""
        for name in ("\u0301a", "\u093fक", "-क", "_क", ".क"):
            self.assertRefused(name, "A name has letters and digits, and then also . _ and -")

    def test_joiners(self) -> None:
        """A joiner is in a name only where it changes how letters are written (UAX #31, 2.3)."""
        for name in ("ශ්\u200dරී", "क्\u200dष", "نامه\u200cای", "क्\u200cष"):
            self.assertEqual(names.nick(name), name)
        said = "A name has invisible joiners only where they change how its letters are written."
        for name in (
            "a\u200db",
            "bob\u200c",
            "\u200dbob",
            "نا\u200cمه",
            "क\u200dष",
            "ab\u200c\u200c",
        ):
            self.assertRefused(name, said)
        self.assertAlike("क्ष", "क्\u200dष", "क्\u200cष")

    def test_mixed_scripts(self) -> None:
        """A name is of one script, or of some that go together (UTS #39, 5.2)."""
        said = "A name has letters of one script only."
        for name in (
            "bob৪",
            "\u0430nna",
            "annα",
            "रामa",
            "中ก",
            "あ한",
            "ᄀあ",
            CYRILLIC_ADMIN,
            "கா\u0947",
        ):
            self.assertRefused(name, said)
        for name in ("東京Tokyo", "あカ中ー", "한中a", "ㄅ中a", "राम42", "日本々"):
            self.assertEqual(names.nick(name), name)

    def test_mixed_digits(self) -> None:
        """The digits of a name are of one set (UTS #39, 5.3)."""
        for name in ("राम1२", "م٤۴", "ก1๑", "7\u09ea"):
            self.assertRefused(name, "A name has digits of one kind only.")
        self.assertEqual(names.nick("राम१२"), "राम१२")
        self.assertEqual(names.nick("bob\uff18"), "bob8")

    def test_piled_marks(self) -> None:
        """A name has no pile of marks (UTS #39, 5.4)."""
        said = "A name has at most four marks on a letter, and none of them twice."
        for name in ("a\u0301\u0301", "गु\u0941", "a\u0300\u0301\u0302\u0303\u0304"):
            self.assertRefused(name, said)
        self.assertEqual(names.nick("x\u0300\u0301\u0302\u0303"), "x\u0300\u0301\u0302\u0303")

    def test_invisible_marks(self) -> None:
        """A variation selector is in no name."""
        for name in ("e\U000e0100", "葛\U000e0101", "a\ufe0f", "ᠠ\u180b", "ᠠ\u180f", "a\u034f"):
            self.assertRefused(name, "A name has letters and digits, and then also . _ and -")

    def test_no_letters(self) -> None:
        """Symbols, punctuation and numbers that are no digits are in no name."""
        for name in ("a\u203fb", "\u0bf0", "a\u2040", "👍", "a\u00b7", "\u3007\u303d", "ꙮ\ua670"):
            self.assertRefused(name, "A name has letters and digits, and then also . _ and -")

    def test_unknown_characters(self) -> None:
        """A character that only the standard library, or only our data know, is in no name."""
        unicode_names.scripts.cache_clear()
        self.addCleanup(unicode_names.scripts.cache_clear)
        self.patch(unicode_names, "_data", lambda: unicode_names.Data("[lookalikes]\n[scripts]\n"))
        self.assertRefused("Кот", "A name has letters and digits of Unicode 15.0 or earlier.")

    def test_nobody_is_called_like_a_notice(self) -> None:
        """The first words of notices, and what looks like them, are nobody's."""
        for name in ("The", "YOU", "server", "Server", "Y0u", "\uff34he", "Welcome",
                     "There", "Your", "pong", "Earlier", "and"):  # fmt: skip
            said = f"Nobody is called {unicodedata.normalize('NFKC', name)}: notices begin so."
            self.assertRefused(name, said)
        for name in ("Theo", "you2", "my-server", "the-server"):
            self.assertEqual(names.nick(name), name)
        self.assertEqual(names.room("server"), "server")

    def test_an_address_is_no_name(self) -> None:
        """An operator who bans an address bans no user of that name."""
        self.assertRefused("192.0.2.7", "192.0.2.7 is an address, and not a name.")
        self.assertEqual(names.nick("1.2.3"), "1.2.3")


class RoomTests(NamesCase):
    """The names of rooms, which are shown in small letters."""

    def test_case(self) -> None:
        """Rooms whose names differ only in case are the same room, in any alphabet."""
        for name, *others in (
            ("izmir", "#İzmir", "#IZMIR", "I\u0307zmir", "İZMİR"),
            ("strasse", "Straße", "STRASSE", "#straẞe"),
            ("ισσοσ", "ΙΣΣΟΣ", "#ισσος"), ("fix", "ﬁx", "FIX"), ("dž", "Ǆ", "ǅ"),
            ("москва", "МОСКВА"), ("ա", "Ա"),
        ):  # fmt: skip
            for other in (name, *others):
                self.assertEqual(names.room(other), name, other)

    def test_a_dotless_i_is_another_letter(self) -> None:
        """The Turkish small letter without a dot is not the one with a dot."""
        self.assertEqual(names.room("#ısparta"), "ısparta")


class AlikeTests(NamesCase):
    """Which names look alike."""

    def test_lookalikes(self) -> None:
        """Names that UTS #39 confuses have a key in common."""
        self.assertAlike("alice", "aIice", "a1ice", "Alice", "ALICE", "ᴀʟɪᴄᴇ")
        self.assertAlike("admin", "ɑdmin", "adrnin", "ADMIN")
        self.assertAlike("bob", "B0B", "BOB", "ʙᴏʙ", "bօb")
        self.assertAlike("bob8", "bob৪", "b0b8")
        self.assertAlike("paco", "расо", "pac0")
        self.assertAlike("nan", "ΝΑΝ")
        self.assertAlike("max", "МАХ", "мах", "rnax")
        self.assertAlike("coca", "соса")
        self.assertAlike("ニ", "二")

    def test_different_names(self) -> None:
        """Names that nobody confuses have no key in common."""
        self.assertDifferent(
            "alice", "alina", "bob", "nan", "van", "yuri", "uri", "Юля", "राहुल", "रोहुल"
        )
        self.assertDifferent("bill", "bili")
        self.assertDifferent("jose", "josé", "josè")

    def test_the_keys_of_ascii_names(self) -> None:
        """The fast way for ASCII gives the same keys as the other."""
        for number in range(128):
            text = f"x{chr(number)}I"
            slow = {unicode_names.skeleton(each) for each in (names.fold(text), text)}
            self.assertEqual(set(names.keys(text)), slow)

    @settings(max_examples=300, database=None)
    @given(st.text(max_size=12))
    def test_keys(self, text: str) -> None:
        """The first key is that of the folded name. A skeleton's skeleton is the same."""
        self.assertEqual(names.keys(text)[0], names.key(names.fold(text)))
        for key in names.keys(text):
            self.assertEqual(unicode_names.skeleton(key), key)


class DataTests(SynchronousTestCase):
    """The data of Unicode."""

    def test_they_are_those_of_unicode(self) -> None:
        """The file is what the generator makes of Unicode's own files."""
        made = make_unicode_names.make()
        self.assertEqual(make_unicode_names.RESULT.read_text(), made)
        for name in ("confusables", "Scripts", "ScriptExtensions", "PropertyValueAliases"):
            text = make_unicode_names.read(name)
            self.assertIn("15.0.0", text[:400], name)

    def test_the_scripts(self) -> None:
        """A script is found at the ends of its ranges, and none beside them."""
        for character, scripts in (
            ("a", {"Latn"}), ("z", {"Latn"}), ("\u09ea", {"Beng", "Cakm", "Sylo"}),
            ("\u4e00", {"Hani", "Hanb", "Jpan", "Kore"}), ("\u0301", {"Zinh"}), ("7", {"Zyyy"}),
            ("\ue000", set()), ("\U0010ffff", set()), ("\0", set()),
        ):  # fmt: skip
            found = unicode_names.scripts(character)
            self.assertEqual(found, scripts, ascii(character))

    def test_ascii_names_need_no_data(self) -> None:
        """A chat whose names are all ASCII never reads the data, or ``idna``."""
        program = (
            "from twisted_net.chat import names, unicode_names; import sys;"
            "[names.keys(names.nick(f'I-Am.{n}_m0')) for n in range(9)];"
            "names.room('#Lobby'); names.key('alice');"
            "print(unicode_names.is_loaded(), 'idna' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self.assertEqual(done.stdout, "False False\n")


class WhoseTests(SessionCase):
    """Which user may have which name."""

    minutes = 0

    def name(self, who: Session, name: str) -> str:
        """Return the answer to a user who takes a name."""
        self.minutes += 1  # names may be changed ten times a minute
        (answer,) = self.said(who, f"/nick {name}", NOW + 60 * self.minutes)
        return answer

    def test_lookalikes_do_not_coexist(self) -> None:
        """A name that looks like another user's is refused, until that user leaves."""
        pairs = (("admin", "ɑdmin"), ("alice", "aIice"), ("aIice", "alice"), ("B0B", "bob"),
                 ("nan", "ΝΑΝ"), ("ΝΑΝ", "nan"), ("paco", "расо"))  # fmt: skip
        for first, second in pairs:
            eve = self.enter()
            self.assertEqual(self.name(eve, first), f"* You are {first} now.")
            self.assertEqual(
                self.name(self.bob, second), f"! The name {second} looks like {first}."
            )
            self.assertIsNone(self.registry.find(second))
            eve.end()
            self.assertEqual(self.name(self.bob, second), f"* You are {second} now.")
            self.assertEqual(self.name(self.bob, "zoe"), "* You are zoe now.")

    def test_both_keys_are_freed(self) -> None:
        """A user who had a name with two keys leaves neither of them behind."""
        for _ in range(2):
            self.assertEqual(self.name(self.ann, "aIice"), "* You are aIice now.")
            self.assertEqual(self.name(self.ann, "AIice"), "* You are AIice now.")
            self.assertEqual(self.name(self.ann, "ann"), "* You are ann now.")
            self.assertEqual(self.name(self.bob, "alice"), "* You are alice now.")
            self.assertEqual(self.name(self.bob, "aiice"), "* You are aiice now.")
            self.assertEqual(self.name(self.bob, "bob"), "* You are bob now.")
        self.assertEqual(len(self.registry), 2)

    def test_operators_names_are_reserved(self) -> None:
        """Only an operator has the operator's name, or one that looks like it."""
        for name in ("boss", "BOSS", "b0ss", "Boss", "ʙᴏss"):
            answer = f"! The name {name} is reserved for an account."
            self.assertEqual(self.name(self.ann, name), answer)
        (problem,) = self.program().receive(Hello("b0ss"), "", NOW)
        self.assertEqual(problem.event.code, "taken")
        self.ann.login_succeeded("boss", NOW)
        self.assertEqual(self.ann.user.name, "boss")

    def test_a_certificate_of_a_lookalike(self) -> None:
        """An account whose name looks like an operator's gets another name."""
        eve = self.session()
        eve.begin(NOW, "b0ss")
        self.assertEqual((eve.user.name, eve.user.operator), ("b0ss-2", False))

    def test_further_reserved_names(self) -> None:
        """A reserved name is its account's alone."""
        self.registry = Registry(5, reserved=["Support"])
        eve = self.enter()
        self.assertEqual(
            self.name(eve, "supp0rt"), "! The name supp0rt is reserved for an account."
        )
        eve.login_succeeded("support", NOW)
        self.assertEqual((eve.user.name, eve.user.operator), ("support", False))

    def test_an_account_gets_its_name(self) -> None:
        """A guest who has an account's name, or one like it, gets another one and is told."""
        for guest, said in (
            ("bob", "bob is an account's name."), ("BOB", "BOB is an account's name."),
            ("B0B", "B0B looks like bob, an account's name."),
            ("ʙᴏʙ", "ʙᴏʙ looks like bob, an account's name."),
        ):  # fmt: skip
            self.assertEqual(self.name(self.ann, guest), f"* You are {guest} now.")
            account = self.enter()
            told = account.login_succeeded("bob", NOW)
            self.assertEqual(account.user.name, "bob")
            events = [
                each.event
                for each in told
                if isinstance(each, SendEvent) and each.user is self.ann.user
            ]
            self.assertEqual(events, [Notice(said), NickSet(self.ann.user.name)])
            account.end()

    def test_a_guest_whose_name_looks_like_the_own_account(self) -> None:
        """A guest's own name does not keep the guest from having that of the account."""
        for guest in ("b0b", "BOB", "guest-7"):
            self.name(self.ann, guest)
            self.ann.login_succeeded("bob", NOW)
            self.assertEqual(self.ann.user.name.lower(), "bob")
            self.ann.end()
            self.ann = self.enter()

    def test_two_guests_who_look_like_an_account(self) -> None:
        """An account's name may look like those of two guests; both get others."""
        self.name(self.ann, "alice")
        self.name(self.bob, "aiice")
        account = self.enter()
        account.login_succeeded("aIice", NOW)
        self.assertEqual(account.user.name, "aIice")
        self.assertEqual({self.ann.user.name[:6], self.bob.user.name[:6]}, {"guest-"})

    def test_accounts_that_look_alike(self) -> None:
        """The first of two accounts that look alike keeps its name."""
        self.ann.login_succeeded("b0b", NOW)
        self.bob.login_succeeded("bob", NOW)
        self.assertEqual((self.ann.user.name, self.bob.user.name), ("b0b", "bob-2"))

    def test_an_account_under_the_name_of_another(self) -> None:
        """An account that took another account's name gives it back."""
        self.ann.login_succeeded("ann", NOW)
        self.bob.login_succeeded("ann", NOW)
        self.assertEqual(self.name(self.bob, "carol"), "* You are carol now.")
        carol = self.enter()
        carol.login_succeeded("carol", NOW)
        self.assertEqual(carol.user.name, "carol")

    def test_a_session_does_not_give_a_reserved_name(self) -> None:
        """Who continues an operator's session without a login gets another name."""
        first = self.program()
        token = "a" * 32
        first.receive(Hello("x", account="boss", password="x", session=token), "", NOW)
        first.login_succeeded("boss", NOW)
        self.assertEqual(first.user.name, "boss")
        second = self.program(Hello(session=token))
        self.assertTrue(second.user.name.startswith("guest-"))
        third = self.program()
        third.receive(Hello(account="boss", password="x", session=token), "", NOW)
        third.login_succeeded("boss", NOW)
        self.assertEqual(third.user.name, "boss")


class FactoryTests(ChatCase):
    """Reserved names of a factory, over the wire."""

    def test_a_reserved_name(self) -> None:
        """A guest is refused in both forms, with a code that programs know."""
        self.factory = self.make(reserved=["support"])
        ann = self.user("ann")
        ann.send(b"/nick supp0rt\n")
        self.assertEqual(ann.take(), b"! The name supp0rt is reserved for an account.\n")
        program = self.program("eve")
        (error,) = program.asks(type="nick", nick="SUPPORT")
        self.assertEqual((error["code"], error["field"]), ("taken", "nick"))

    def test_what_is_no_name(self) -> None:
        """A reserved name that is none is an error of the program."""
        error = self.assertRaises(ValueError, self.make, reserved=["a b"])
        self.assertEqual(
            str(error), "reserved: 'a b': A name has letters and digits, and then also . _ and -"
        )

    def test_an_invisible_message(self) -> None:
        """Programs cannot send what nobody sees. A topic of it removes the topic."""
        program = self.program("eve")
        for text in INVISIBLE:
            for message in ({"type": "message", "room": "lobby"}, {"type": "private", "to": "eve"}):
                (error,) = program.asks(**message, text=text)
                self.assertEqual((error["code"], error["field"]), ("bad-field", "text"))
            self.clock.advance(60)  # topics may be changed ten times a minute
            program.asks(type="topic", room="lobby", topic="tea")
            (topic,) = program.asks(type="topic", room="lobby", topic=text)
            self.assertEqual(topic["topic"], "")

    def test_a_flag(self) -> None:
        """A flag of a subdivision arrives as it was sent."""
        flag = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
        ann, bob = self.user("ann"), self.user("bob")
        self.pass_presence(ann, bob)
        ann.send(f"hello {flag}\n".encode())
        self.assertEqual(bob.take(), f"<ann> hello {flag}\n".encode())

    def test_no_password_after_what_nobody_sees(self) -> None:
        """``/login`` and a program's login are recognised after invisible characters."""
        ann, bob = self.user("ann"), self.user("bob")
        self.pass_presence(ann, bob)
        for before in INVISIBLE:
            ann.send(f"{before}/login ann secret\n".encode())
            self.assertEqual(ann.take(), b"! There are no accounts here.\n", ascii(before))
            self.assertEqual(bob.take(), b"")
