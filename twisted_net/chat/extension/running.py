"""Runs the commands of an application, and answers the user."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.logger import Logger

from twisted_net.chat.actions import RunCommand, SendEvent
from twisted_net.chat.extension.user import Chat, ChatUser, one_line
from twisted_net.chat.messages import Ack, ChatError, ErrorReply
from twisted_net.policy.close_reasons import FAILED

_log = Logger()


def error_reply(error: ChatError) -> ErrorReply:
    """Return the answer to a request that was refused. An application may have written its text."""
    text = one_line(str(error.text))
    return ErrorReply(str(error.code), text, error.field, retry_after=error.retry_after)


async def run_command(chat: Chat, action: RunCommand) -> None:
    """Run a command of the application, and answer the user.

    A refusal is an answer. Another failure is logged, and the user is told.
    """
    call, user, id = action.call, action.user, action.id
    try:
        caller = ChatUser(chat, user, call.name, call.room, id)
        await finished(call.run(caller, **call.arguments), call.name, "Use user.reply() to answer.")
    except Exception as error:
        chat.act([SendEvent(user, failure_reply(error, f"The command {call.name}"), id)])
    else:
        if id and not caller.answered:  # a program waits for an answer to each of its ids
            chat.act([SendEvent(user, Ack(""), id)])


async def finished(result: Any, name: str, instead: str) -> None:
    """Wait until a function of the application has finished."""
    if isinstance(result, Awaitable):
        result = await result
    if result is not None:
        raise TypeError(f"{name}() returned {result!r}; it must return None. {instead}")


def failure_reply(error: Exception, what: str) -> ErrorReply:
    """Return the answer to a request for which the application failed. Log what is its mistake."""
    if isinstance(error, ChatError):
        return error_reply(error)
    _log.failure("{what} failed", what=what)
    return ErrorReply("failed", FAILED.text)
