"""A plugin, for ``twisted/plugins/``: accounts by ``twistd netchat --auth members:PATH``."""

from typing import Any

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import ICheckerFactory
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(ICheckerFactory, IPlugin)
class MembersKind:
    authType = "members"
    authHelp = "Names and passwords are those of the table members in a file of SQLite."
    argStringFormat = "path of the file"
    credentialInterfaces = (IUsernamePassword,)

    def generateChecker(self, path: str) -> Any:
        from chat_accounts import Members  # plugins are read at each start; this only if it is used

        checker: Any = Members()
        checker.path = path
        return checker


kind = MembersKind()
