"""The web page."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "The web page"
_GATE = "keeper/web/gate.py"
_T_GATE = "tests/unit/web/test_gate.py"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "a request by a name that is not ours is refused (DNS rebinding)",
        _GATE,
        "        if name is None or not (name in self._hosts or _is_ip(name)):",
        "        if False:",
        f"{_T_GATE}::test_another_name_is_refused_whoever_asks",
    ),
    Removal(
        _GROUP,
        "nothing is told without the token",
        _GATE,
        "        if who.trusted or path.startswith(_LOOKS)",
        "        if True or path.startswith(_LOOKS)",
        f"{_T_GATE}::test_without_the_token_nothing_is_told",
    ),
    Removal(
        _GROUP,
        "another site's page changes nothing",
        _GATE,
        "        if foreign:\n",
        "        if False:\n",
        f"{_T_GATE}::test_another_sites_page_changes_nothing",
    ),
    Removal(
        _GROUP,
        "a session changes something only with its own proof that it is no forgery",
        "keeper/web/api.py",
        "    if who.session is not None and not keys.is_csrf(who.session, given):",
        "    if False:",
        f"{_T_GATE}::test_a_session_acknowledges_only_with_its_own_proof_that_it_is_no_forgery",
    ),
    Removal(
        _GROUP,
        "a session ends",
        _GATE,
        "        return right and self._clock() < int(expires)",
        "        return right",
        f"{_T_GATE}::test_a_session_ends_by_itself_and_cannot_be_prolonged",
    ),
    Removal(
        _GROUP,
        "a session cannot be made up",
        _GATE,
        "        return right and self._clock() < int(expires)",
        "        return self._clock() < int(expires)",
        f"{_T_GATE}::test_a_session_ends_by_itself_and_cannot_be_prolonged",
    ),
    Removal(
        _GROUP,
        "the cookie is out of reach of scripts",
        "keeper/web/login.py",
        "            httponly=True,\n",
        "",
        f"{_T_GATE}::test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites",
    ),
    Removal(
        _GROUP,
        "nothing is changed where no token is configured",
        "keeper/web/api.py",
        "    if not keys.needed or who.by is None:",
        "    if False:",
        f"{_T_GATE}::test_nothing_is_changed_where_no_token_is_configured",
    ),
    Removal(
        _GROUP,
        "a body is small, whatever its length says",
        _GATE,
        "        if taken > MOST_BODY_BYTES:",
        "        if False:",
        f"{_T_GATE}::test_a_body_is_small",
    ),
    Removal(
        _GROUP,
        "the login leads nowhere else",
        "keeper/web/login.py",
        '    ours = target.startswith("/") and not target.startswith("//") and "\\\\" not in target',
        "    ours = True",
        f"{_T_GATE}::test_the_login_leads_nowhere_else",
    ),
    Removal(
        _GROUP,
        "browsers run nothing but our own scripts, and nobody frames us",
        "keeper/web/shield.py",
        "                    headers[name] = value",
        "                    pass",
        f"{_T_GATE}::test_every_answer_tells_browsers_to_do_nothing_else_with_it",
    ),
    Removal(
        _GROUP,
        "looking at the link of a notice acknowledges nothing",
        "keeper/web/login.py",
        "            said = await reading.invited(token)\n        except Problem as problem:\n"
        '            return _page("Acknowledge", f"<p role=alert>{escape(problem.detail)}.</p>", problem.status)\n'
        '        return _page(\n            "Acknowledge this',
        "            said = await reading.invited(token)\n            await reading.acknowledge(token, 'a link')\n"
        "        except Problem as problem:\n"
        '            return _page("Acknowledge", f"<p role=alert>{escape(problem.detail)}.</p>", problem.status)\n'
        '        return _page(\n            "Acknowledge this',
        f"{_T_GATE}::test_a_link_acknowledges_once_its_button_is_pressed_and_not_by_being_looked_at",
    ),
    Removal(
        _GROUP,
        "beyond this machine it listens only with a token",
        "keeper/queries/live/command.py",
        "    if not address.is_loopback and token is None:",
        "    if False:",
        "tests/integration/test_web_process.py::test_beyond_this_machine_it_listens_only_with_a_token",
    ),
)
