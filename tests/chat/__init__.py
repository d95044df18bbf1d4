"""Tests of ``twisted_net/chat/``.

``test_session`` has the decisions, without connections: names, rooms, commands, moderation.
``test_chat`` has text users on connections in memory, ``test_json`` has programs (each answer is
checked against the schema), ``test_recovery`` and ``test_store`` what comes back after a cut,
``test_login`` accounts, ``test_client`` the client, ``test_client_calls`` what ends its calls,
``test_client_server`` what a broken server may say to it (``client_peers`` plays servers).
``test_programs`` plays random programs of people, and compares them with ``model``
(``python -m tests.chat.programs`` plays many); ``chat_world`` has the people. ``test_fuzz`` sends
noise (``fuzz_chat`` and ``chat_attack``). ``chat_peers`` has what they share.
"""
