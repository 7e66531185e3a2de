"""`SshTransport`: one connection per host, reused, safe to use from several threads at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import paramiko
from paramiko.ssh_exception import ChannelException, SSHException

from drctl.errors import ConnectionLost, DrctlError, InvalidInput, NotWritten, Unreachable
from drctl.ssh import session
from drctl.ssh.frames import Shared
from drctl.ssh.limits import Countdown, Watchdog
from drctl.ssh.link import Link, dial
from drctl.ssh.route import HostLike, Router
from drctl.ssh.sshconfig import SshSettings
from drctl.ssh.transfer import WINDOW, Download, Upload
from drctl.ssh.turns import Gates
from drctl.transport import MOST, CommandResult, Progress, Script

T = TypeVar("T")
Work = Callable[[paramiko.Channel, Countdown, Watchdog], T]

STALL = 60.0  # seconds without a packet before a transfer counts as cut
GIVE_UP = 3.0  # seconds to close a channel that is abandoned
NO_SESSION = 10.0  # seconds in which a host refuses every session, with none of ours open
PAUSES = (0.05, 1.0)  # seconds before a session is asked for again, the first and the longest


@dataclass
class _Slot:
    """A host's place in the pool. `lock` is held while its connection is being made."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    link: Link | None = None


class SshTransport:
    """Implements `drctl.transport.Transport` over SSH, with strict host keys on every hop."""

    def __init__(
        self,
        hosts: Mapping[str, HostLike],
        *,
        known_hosts: Path | None,
        connect_timeout: float = 10,
        stall: float = STALL,
        ssh_config: Path | None = None,
    ) -> None:
        """Nothing is connected yet. Times in seconds; `connect_timeout` is per hop.

        `ssh_config` replaces the user's and the system's files, as `ssh -F` does.
        """
        self._hosts = dict(hosts)
        self._router = Router(self._hosts, SshSettings(ssh_config), known_hosts)
        self._connect_timeout = connect_timeout
        self._stall = stall
        self._slots = {name: _Slot() for name in self._hosts}
        self._gates = Gates()
        self._shared = Shared()
        self._count = threading.Lock()
        self._closed = False

    def run(
        self,
        host: str,
        script: Script,
        env: Mapping[str, str] | None = None,
        *,
        deadline: float,
    ) -> CommandResult:
        """See `drctl.transport.Transport.run`."""
        began, become = time.monotonic(), self._become(host)
        marks = session.new_marks()
        stdin = session.wrapped(script, env or {}, marks)

        def work(channel: paramiko.Channel, countdown: Countdown, dog: Watchdog) -> CommandResult:
            del dog
            result = session.execute(
                session.Call(channel, become, countdown), script.name, stdin, marks
            )
            return replace(result, seconds=time.monotonic() - began)

        window = session.RUN_WINDOW
        return self._call(host, Countdown(deadline), work, script.name, window=window)

    def upload(
        self,
        host: str,
        source: Path,
        target: str,
        *,
        deadline: float,
        go_on: bool = False,
        rate: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See `drctl.transport.Transport.upload`."""
        countdown, become = Countdown(deadline), self._become(host)
        with self._shared.frames(source) as frames:
            job = Upload(frames, target, become, progress, go_on=go_on, rate=rate)
            self._call(host, countdown, job.run, f"sending {target}", stall=self._stall)

    def download(
        self,
        host: str,
        source: str,
        target: Path,
        *,
        deadline: float,
        limit: int = MOST,
        progress: Progress | None = None,
    ) -> None:
        """See `drctl.transport.Transport.download`; Refused if `target` exists."""
        countdown = Countdown(deadline)
        job = Download(source, target, self._become(host), limit, progress)
        self._call(host, countdown, job.run, f"fetching {source}", stall=self._stall, window=WINDOW)

    def close(self) -> None:
        """Break every connection; calls under way end with ConnectionLost."""
        self._closed = True
        for slot in self._slots.values():
            if slot.link:
                slot.link.close()

    def _become(self, host: str) -> str:
        if host not in self._hosts:
            raise InvalidInput(f"host {host!r} is not in the inventory")
        return self._hosts[host].become

    def _call(
        self,
        host: str,
        countdown: Countdown,
        work: Work[T],
        what: str,
        *,
        stall: float = float("inf"),
        window: int | None = None,
    ) -> T:
        """Do `work` on a new channel within the countdown, and sort out how it failed."""
        with _on(host), self._channel(host, countdown, window) as (link, channel):
            dog = Watchdog(countdown, partial(_break, link, channel), stall)
            with dog:
                try:
                    return work(channel, countdown, dog)
                except ConnectionLost as e:
                    raise _lost(what, dog, countdown, link, e) from e
                except session.LOST as e:
                    if isinstance(e, OSError) and link.usable and not channel.closed:
                        raise  # not the connection's: a progress callback's own OSError
                    raise _lost(what, dog, countdown, link, e) from e
                finally:
                    dog.hurry(GIVE_UP)
                    with suppress(*session.LOST):
                        channel.close()

    @contextmanager
    def _channel(
        self, host: str, countdown: Countdown, window: int | None
    ) -> Iterator[tuple[Link, paramiko.Channel]]:
        link, channel = self._open_channel(host, countdown, window)
        try:
            yield link, channel
        finally:
            link.turns.give()
            with self._count:
                link.users -= 1

    def _open_channel(
        self, host: str, countdown: Countdown, window: int | None
    ) -> tuple[Link, paramiko.Channel]:
        link = self._link(host, countdown)
        try:
            return link, self._session(link, countdown, window)
        except session.LOST as e:
            if countdown.left() == 0 or link.usable:
                raise Unreachable(f"cannot open an SSH session: {e}") from e
        # It had died while idle, or while we waited for our turn. Nothing was sent on it, so a
        # second attempt repeats nothing.
        link = self._link(host, countdown)
        try:
            return link, self._session(link, countdown, window)
        except session.LOST as e:
            raise Unreachable(f"cannot open an SSH session: {e}") from e

    def _link(self, host: str, countdown: Countdown) -> Link:
        """The host's connection, made now where there is none."""
        slot = self._slots[host]
        if not slot.lock.acquire(timeout=countdown.left()):
            raise Unreachable(f"no connection within {countdown.seconds:g} s")
        try:
            if self._closed:
                raise Unreachable("the connection is closed")
            if slot.link is None or not slot.link.usable:
                if slot.link:
                    slot.link.close()
                slot.link = Link(self._router.route(host))
                dial(slot.link, countdown, self._connect_timeout, self._gates)
            if self._closed:  # by another thread, while we were dialling
                slot.link.close()
                raise Unreachable("the connection is closed")
            with self._count:
                slot.link.users += 1
            return slot.link
        finally:
            slot.lock.release()

    def _session(self, link: Link, countdown: Countdown, window: int | None) -> paramiko.Channel:
        """A session whose turn it is: a host that refused one gets fewer at once from then on."""
        pause, longest = PAUSES
        try:
            while link.turns.take(countdown):
                try:
                    channel = self._opened(link, countdown, window)
                    link.turns.opened()
                    return channel
                except ChannelException as e:
                    if link.turns.refused() > NO_SESSION or countdown.left() <= pause:
                        raise _no_session(e.text) from e
                except BaseException:
                    link.turns.give()
                    raise
                time.sleep(countdown.left(pause))
                pause = min(2 * pause, longest)
            raise _no_session(f"all {link.turns.most} that it allows were busy")
        except BaseException:
            with self._count:
                link.users -= 1
            raise

    def _opened(self, link: Link, countdown: Countdown, window: int | None) -> paramiko.Channel:
        transport = link.transport
        assert transport is not None, "a link in the pool was dialled"
        # A busy connection is known to live: a full one may take long to answer.
        patience = countdown.left() if link.users > 1 else countdown.left(self._connect_timeout)
        asked, dog = time.monotonic(), Watchdog(Countdown(patience + 0.5), link.abort)
        try:
            with dog:
                return transport.open_session(window_size=window, timeout=patience)
        except ChannelException:
            raise
        except session.LOST as e:
            early = time.monotonic() - asked < patience
            if isinstance(e, SSHException) and early and link.usable:
                # Refused: paramiko keeps one reason for all threads, and another one took it.
                raise ChannelException(2, str(e)) from e
            if link.users == 1:  # or else it is merely busy with what others send
                link.abort()
            if dog.fired:
                raise TimeoutError(f"no answer within {patience:.3g} s") from e
            raise


def _no_session(why: str) -> Unreachable:
    return Unreachable(
        f"the host refused one more session: {why}",
        hint="raise MaxSessions in its sshd_config (and MaxStartups, if logins are dropped too)",
    )


def _break(link: Link, channel: paramiko.Channel) -> None:
    link.abort()
    # A thread that was about to wait for an answer when the channel closed would wait for ever.
    channel.event.set()
    channel.status_event.set()


def _lost(
    what: str, dog: Watchdog, countdown: Countdown, link: Link, error: Exception
) -> ConnectionLost:
    why = dog.fired or getattr(error, "message", "") or str(error) or "the connection broke"
    if countdown.left() == 0:  # seen here before the watchdog woke
        link.abort()
        why = dog.fired or f"no answer within {countdown.seconds:g} s"
    return ConnectionLost(
        f"{what}: {why}; result unknown",
        hint="resume: it checks the host before it acts",
    )


@contextmanager
def _on(host: str) -> Iterator[None]:
    """Name the host in every error that does not."""
    try:
        yield
    except NotWritten:  # that is this machine
        raise
    except DrctlError as e:
        e.host = e.host or host
        raise
