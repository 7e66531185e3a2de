"""ssh_config files to compare two readers over: written by hand, and put together by chance.

A configuration is a dict of file name -> text; reading begins with `config`, then `system` if there
is one. `{dir}` is the folder that they lie in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

Config = dict[str, str]

HOSTS = ("web", "db1.example.org", "10.0.0.7", "WEB")
ASKED: tuple[tuple[str, str | None, int | None], ...] = (
    *((host, None, None) for host in HOSTS),
    ("web", "root", 2222),
)


def anchors(name: str, strict: str = "yes") -> str:
    """The settings that say whom ssh trusts, told apart by `name`."""
    return (
        f" UserKnownHostsFile /{name} ~/{name}\n GlobalKnownHostsFile /{name}.all\n"
        f" StrictHostKeyChecking {strict}\n HostKeyAlias As-{name}\n"
        f" ProxyJump {name}@by-{name}:24\n"
    )


def of(config: str, **others: str) -> Config:
    return {"config": config, **others}


READ: list[Config] = [
    of(""),
    of("# nothing\n\n   \t\n"),
    of(anchors("all")),
    # -- Host -------------------------------------------------------------------------------------
    of(f"Host web\n{anchors('web')}Host *\n{anchors('rest', 'no')}"),
    of(f"Host * !web\n{anchors('rest')}"),
    of(f"Host !web *\n{anchors('rest')}"),
    of(f"Host !web\n{anchors('never')}"),
    of(f"Host w?b\n{anchors('w')}Host *.example.org\n{anchors('d')}Host 10.*\n{anchors('ten')}"),
    of("Host web db1.example.org\n Port 1\nHost WEB\n Port 2\n"),
    of("Host \"web\" 'WEB'\n Port 3\n"),
    of("Host=web\nPort=4\nHost = *\nPort = 5\n"),
    of("host web\nPORT 6\nhOsT *\npOrT 7\n"),
    of("Host web # and why\n Port 8 # so\n"),
    of("Port 9\nHost web\n Port 10\n"),
    of("Host w[e]b\n Port 11\nHost w.b\n Port 12\n"),
    of("Host **\n Port 13\n"),
    # -- Include ----------------------------------------------------------------------------------
    of(f"Host web\n Include {{dir}}/a\nHost *\n{anchors('rest')}", a=f"Host *\n{anchors('a')}"),
    of("Host web\n Include {dir}/a\n User after\n", a="Host WEB\n Port 20\n"),
    of("Host other\n Include {dir}/a\n", a=f"Host *\n{anchors('leaked', 'no')}"),
    of("Host other\n Include {dir}/a\n", a=f"Match all\n{anchors('leaked', 'no')}"),
    of("Host other\n Include {dir}/a\n Port 21\nHost *\n Port 22\n", a="Host *\n User leaked\n"),
    of("Host web\n Include {dir}/a\n Port 23\n", a="Host nobody\n User x\n"),
    of("Include {dir}/a\nPort 24\n", a="Host web\n User inner\n"),
    of("Include {dir}/a\nPort 25\n", a="Host nobody\n"),
    of("Match host web\n Include {dir}/a\n", a=f"Host *\n{anchors('a')}"),
    of("Match host other\n Include {dir}/a\n", a=f"Match host *\n{anchors('a')}"),
    of("Host web\n Include {dir}/a\n", a="Include {dir}/b\nPort 26\n", b="Host *\n User b\n"),
    of("Host other\n Include {dir}/a\n", a="Host *\nInclude {dir}/b\n", b="Host *\n User b\n"),
    of("Include {dir}/a {dir}/b\n", a="Host web\n Port 27\n", b="Port 28\n"),
    of("Include {dir}/[ab]\n", a="Port 29\n", b="Port 30\n"),
    of("Include {dir}/nothing-*\nInclude {dir}/none\nPort 31\n"),
    of('Include "{dir}/a b"\n', **{"a b": "Port 32\n"}),
    of("Include={dir}/a\n", a="Port 33\n"),
    of("Include {dir}/a\n", a="Match final\n User last\n"),
    of("Host other\n Include {dir}/a\nMatch final\n User last\n", a="Match final\n User no\n"),
    # -- Match ------------------------------------------------------------------------------------
    of(f"Match all\n{anchors('all')}"),
    of(f"Match host web\n{anchors('web')}Match host *.example.org,10.*\n{anchors('d')}"),
    of(f"Match host *,!web\n{anchors('rest')}"),
    of("Match !host web\n Port 40\n"),
    of("Match host WEB\n Port 41\n"),
    of("Match originalhost web\n Port 42\n"),
    of("HostName %h.example.net\nMatch host *.example.net\n Port 43\n"),
    of("HostName %h.example.net\nMatch originalhost web\n Port 44\n"),
    of("Match host web user root\n Port 45\nMatch user root\n Port 46\n"),
    of("User deploy\nMatch user deploy\n Port 47\nMatch user !deploy,*\n Port 48\n"),
    of("Match localuser nobody-here\n Port 49\nMatch !localuser nobody-here\n Port 50\n"),
    of(f"Match final\n{anchors('final')}Host web\n HostName other\n"),
    of("Host web\n HostName Other\nMatch final host other\n Port 51\n"),
    of("Host web\n HostName other\nHost other\n Port 52\nMatch final all\n User f\n"),
    of("Match canonical\n Port 53\n"),
    of("Match !canonical\n Port 54\n"),
    of("Match canonical all\n Port 55\nMatch final\n User x\n"),
    of('Match host "web"\n Port 56\n'),
    of("Match host=web\n Port 57\n"),
    of("Match host web # comment\n Port 58\n"),
    of('Match host other exec "true"\n Port 59\n'),
    of("Match !all\n Port 60\nMatch all\n Port 61\n"),
    # -- the first value wins ---------------------------------------------------------------------
    of(f"Host web\n{anchors('one')}Host *\n{anchors('two', 'no')}"),
    of("StrictHostKeyChecking no\nStrictHostKeyChecking yes\n"),
    of(anchors("user"), system=anchors("system", "no")),
    of("Host web\n Port 70\n", system="Port 71\nHost web\n User sys\n"),
    of("Host web\n Port 70\n", system="User sys\n"),
    of("Host nobody\n", system="User sys\n"),
    of("IdentityFile /user\n", system="IdentityFile /system\n"),
    *(
        of(f"StrictHostKeyChecking {value}\n")
        for value in ("no", "off", "ask", "accept-new", "Yes")
    ),
    # -- files ------------------------------------------------------------------------------------
    of("IdentityFile /a\nHost web\n IdentityFile ~/b\n IdentityFile %d/c\n"),
    of("Host web\n IdentityFile /a\nHost *\n IdentityFile /b\n IdentityFile /a\n"),
    of("IdentityFile none\n"),
    of("IdentityFile none\nIdentityFile /a\n"),
    of('IdentityFile "/with blank/key"\nIdentityFile /with\\ blank/other\n'),
    of("IdentityFile ~/%r@%h-%p-%n-%u-%i-%l-%L-%k\n"),
    of("IdentityFile ${HOME}/key\n"),
    of("IdentityFile /100%%\n"),
    of("IdentityFile ~/.ssh/id_rsa\n"),
    of("IdentitiesOnly yes\nIdentityAgent none\n"),
    of("IdentitiesOnly no\nIdentityAgent SSH_AUTH_SOCK\n"),
    of("UserKnownHostsFile ~/%h /k/%k /%n/%p %d/%r/%u\nHostKeyAlias Name\n"),
    of("UserKnownHostsFile ${HOME}/x\n"),
    of("UserKnownHostsFile none\nGlobalKnownHostsFile none\n"),
    of("UserKnownHostsFile \"/a\" '/b' /c\n"),
    of("UserKnownHostsFile = /a\nGlobalKnownHostsFile=/b /c\n"),
    of("HostKeyAlias Mixed-Case\n"),
    of("HostKeyAlias none\n"),
    # -- names ------------------------------------------------------------------------------------
    of("Host web\n HostName Real.Example.Org\n"),
    of("HostName %h.example.org\n"),
    of("HostName ::0001\n"),
    of("HostName 127.1\n"),
    of("User deploy\nPort 2022\n"),
    # -- the way ----------------------------------------------------------------------------------
    of("ProxyJump j\nProxyCommand nc %h %p\n"),
    of("ProxyCommand nc %h %p\nProxyJump j\n"),
    of("ProxyCommand none\nProxyJump j\n"),
    of("Host web\n ProxyJump none\nHost *\n ProxyJump j\n"),
    of("ProxyJump NONE\n"),
    of("ProxyJump a,u@b:24,ssh://c@d:25\n"),
    of("ProxyJump 10.1.2.3:24\n"),
    of("ProxyJump [fe80::1]:24\n"),
    of("ProxyJump=j # comment\n"),
    of("Host web\n ProxyCommand none\nHost *\n ProxyCommand nc\n"),
    # -- canonical names --------------------------------------------------------------------------
    of("Host db1* 10.*\n CanonicalizeHostname yes\nMatch canonical\n Port 90\n"),
    of("CanonicalizeHostname yes\nProxyJump j\n"),
    of("CanonicalizeHostname no\n"),
    of("Host db1*\n CanonicalizeHostname always\n CanonicalizeMaxDots 0\n ProxyJump j\n"),
    # -- what both pass over ----------------------------------------------------------------------
    of("SendEnv LANG LC_*\nHashKnownHosts yes\nServerAliveInterval 5\nLocalForward 8080 x:80\n"),
    of("Port 95\r\nUser dos\r\n"),
    of("\tPort\t96\t\n"),
]

REFUSED: list[Config] = [
    of("Port\n"),
    of("Port x\n"),
    of("Port 0\n"),
    of("Port 1 2\n"),
    of("User a b\n"),
    of('User "a\n'),
    of("StrictHostKeyChecking maybe\n"),
    of("IdentitiesOnly perhaps\n"),
    of("UserKnownHostsFile none /a\n"),
    of("UserKnownHostsFile relative\n"),
    of('UserKnownHostsFile "/a b"\n'),
    of("UserKnownHostsFile /%z\n"),
    of("UserKnownHostsFile /${DRCTL_NOT_SET}\n"),
    of("IdentityFile /%z\n"),
    of("IdentityFile ~no-such-user/key\n"),
    of("UserKnownHostsFile ~no-such-user/known_hosts\n"),
    of("IdentityFile /\x1b[2J\n"),
    of("IdentityFile /\udcff\n"),
    of("GlobalKnownHostsFile /\x1b]0;x\x07\n"),
    of("HostKeyAlias two,names\n"),
    of('HostKeyAlias "a b"\n'),
    of("HostKeyAlias *\n"),
    of("IdentityFile /${DRCTL_NOT_SET}\n"),
    of("IdentityFile /at-the-end-%\n"),
    of("HostName %z\n"),
    of("HostName a;b\n"),
    of("ProxyJump a:b:c\n"),
    of("ProxyJump user@\n"),
    of("Match\n"),
    of("Match host\n"),
    of("Match nothing-known x\n"),
    of("Match all host web\n"),
    of("Match host web all user\n"),
    of("Include {dir}/a\n", a="Include {dir}/a\n"),
    of("Include {dir}/a\n", a="Port x\n"),
    of("Host other\n Include {dir}/a\n", a="Port x\n"),
    of("CanonicalizeHostname always\nCanonicalizeMaxDots 9\nHostName name\n"),
]


def by_chance(seed: int) -> Config:
    """A configuration of several blocks and files; the same one for the same seed."""
    chance = random.Random(seed)
    names = ["config", "a", "b", "c"]
    config = {name: "".join(_lines(chance, names[at + 1 :])) for at, name in enumerate(names)}
    if chance.random() < 0.3:
        config["system"] = "".join(_lines(chance, ["c"]))
    return config


def _lines(chance: random.Random, may_include: list[str]) -> Iterator[str]:
    for _ in range(chance.randint(1, 7)):
        kind = chance.random()
        if kind < 0.3:
            yield f"{_header(chance)}\n"
        elif kind < 0.5 and may_include:
            yield f"  Include {{dir}}/{chance.choice(may_include)}\n"
        else:
            yield f"  {_setting(chance)}\n"


def _header(chance: random.Random) -> str:
    pattern = chance.choice(("web", "*", "!web", "*.example.org", "10.*", "w?b", "other", "x-*"))
    another = chance.choice(("*", "!db1*", "WEB", "nobody"))
    match = [f"host {pattern.replace('!', '*,!')}", "final", "canonical", f"originalhost {another}"]
    match += ["user root", "!user root", "user deploy", f"!host {another.lstrip('!')}"]
    return chance.choice(
        (
            f"Host {pattern}",
            f"Host {pattern} {another}",
            f"Match {' '.join(chance.sample(match, chance.randint(1, 2)))}",
            "Match all",
        )
    )


def _setting(chance: random.Random) -> str:
    name = chance.choice("pqrst")
    jump = chance.choice(("none", name, f"{name}@{name}:24", f"{name},{name}{name}"))
    return chance.choice(
        (
            f"UserKnownHostsFile /{name} ~/{name}",
            f"UserKnownHostsFile /{name}/%h/%p",
            f"GlobalKnownHostsFile /{name}",
            f"StrictHostKeyChecking {chance.choice(('yes', 'no', 'ask', 'accept-new'))}",
            f"HostKeyAlias {name.upper()}",
            f"ProxyJump {jump}",
            f"HostName {chance.choice((f'{name}.example.org', f'x-{name}', '%h.net'))}",
            f"User {chance.choice(('root', 'deploy', name))}",
            f"Port {chance.randint(1, 9)}",
            f"IdentityFile /{name}",
            f"IdentityFile ~/{name}-%h-%r",
            f"IdentitiesOnly {chance.choice(('yes', 'no'))}",
        )
    )
