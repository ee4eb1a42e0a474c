"""What Linux itself holds a process in, from the moment it asks for it: no privileges needed, and no way back.

The one idea: Python can be talked out of what Python refuses, the kernel cannot. Landlock lets the process open only
the files that it is given, seccomp answers the calls that no exercise needs with EPERM, and privileges are given up.
Where the kernel or a container does not offer one of the three, the others hold; `confine` says which.
Sources: landlock(7), seccomp(2), capabilities(7), and the kernel's tables of system calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

# --- Landlock: bits of linux/landlock.h, and how many of them each version of the interface knows
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # calls of the same number on all processors
WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
# remove folders and files, make folders and files, move them; no devices, sockets, pipes or links
CHANGE = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # from version 5 on 16; what is not granted is refused, execution too
TCP, SCOPES = 0b11, 0b11  # bind and connect, from version 4; abstract sockets and signals, from 6

# --- seccomp: numbers on x86_64 and aarch64 (None: there is no such call there)
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes: making them, becoming another program, reaching into those of the same user
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "setsid": (112, 157), "setpgid": (109, 154), "unshare": (272, 97), "setns": (308, 268),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "sched_setparam": (142, 118), "sched_setaffinity": (203, 122),
    # the network, and calls that go round this table
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # what Landlock leaves open: rights, owners, times and attributes of files; files by number; other file systems
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "truncate": (76, 45),
    "chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "open_by_handle_at": (304, 265), "mount": (165, 40), "umount2": (166, 39), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430), "mount_setattr": (442, 442),
    # memory that outlasts the process or is no file; the kernel's own machinery
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241),
    # its own limits
    "setrlimit": (160, 164), "setitimer": (38, 103), "alarm": (37, None),
}  # fmt: skip
MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}  # column, AUDIT_ARCH, seccomp's number
CLONE3, NEWEST = 435, 451  # what is newer than this table is answered as by an older kernel
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # instructions of the classic packet filter
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # the latter plus the number of an error

Call = Callable[..., int]


def confine(readable: Iterable[str], hidden: Iterable[str], folder: str) -> tuple[str, ...]:
    """Hold this process, for the rest of its life, in what an exercise needs; call it before there are other threads.

    Parameters
    ----------
    readable : iterable of str
        Files and folders that may be read, with what is in them; what does not exist is passed over.
    hidden : iterable of str
        Files and folders in them that may not. Their names can still be listed.
    folder : str
        May be read and written. Nowhere may anything be executed.

    Returns
    -------
    tuple of str
        What holds: of "Landlock N" (N the version of its interface), "seccomp" and "no privileges".
    """
    if sys.platform != "linux":
        return ()
    libc = ctypes.CDLL(None, use_errno=True)  # kept nowhere: a submission would call through it

    def call(function: Any, *args: Any) -> int:
        result: int = function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    held: list[str] = []
    with suppress(OSError):  # not offered here
        held.append(_landlock(libc, call, [*readable], [*map(os.path.realpath, hidden)], folder))
    with suppress(OSError, AttributeError):  # nor by every C library
        held.append(_unprivileged(libc, call))
    with suppress(OSError):
        held.append(_seccomp(libc, call))
    return tuple(filter(None, held))


def _landlock(libc: Any, call: Call, readable: list[str], hidden: list[str], folder: str) -> str:
    version = call(libc.syscall, CREATE_RULESET, None, 0, 1)
    rights = (1 << FILE_RIGHTS.get(version, 16)) - 1
    wanted = struct.pack("QQQ", rights, TCP * (version >= 4), SCOPES * (version >= 6))
    ruleset = call(libc.syscall, CREATE_RULESET, wanted, len(wanted), 0)

    def grant(path: str, access: int) -> None:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            if not os.path.isdir(path):
                access &= READ_FILE | WRITE_FILE | TRUNCATE
            call(libc.syscall, ADD_RULE, ruleset, 1, struct.pack("=Qi", access & rights, place), 0)
            os.close(place)

    for root in map(os.path.realpath, readable):
        if os.path.isdir(root):
            grant(root, READ_DIR)
        for path in _without(root, hidden):
            grant(path, READ_FILE | READ_DIR)
    grant(folder, READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | CHANGE)
    grant(os.devnull, READ_FILE | WRITE_FILE | TRUNCATE)
    call(libc.prctl, 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: no program could give any back
    call(libc.syscall, RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return f"Landlock {version}"


def _without(path: str, hidden: list[str]) -> Iterator[str]:
    """What of a path may be read: itself, or the parts of a folder that has something hidden in it."""
    if path in hidden:
        return
    if not any(one.startswith(path.rstrip(os.sep) + os.sep) for one in hidden):
        yield path
        return
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if not entry.is_symlink():  # where it leads to is readable in its own right, or not
                yield from _without(entry.path, hidden)


def _unprivileged(libc: Any, call: Call) -> str:
    """Give up the privileges of root, all but that of reading what belongs to others (CAP_DAC_READ_SEARCH)."""
    header, state = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    call(libc.capget, header, state)
    effective, permitted, *_ = struct.unpack("=6I", state)  # those up to 31; then inheritable ones, and from 32 on
    call(libc.capset, header, struct.pack("=6I", effective & 1 << 2, permitted & 1 << 2, 0, 0, 0, 0))
    return "no privileges"


def _seccomp(libc: Any, call: Call) -> str:
    machine = os.uname().machine
    if machine not in MACHINES or sys.maxsize < 1 << 32:
        return ""
    column, architecture, number = MACHINES[machine]
    program = _program(column, architecture, os.getpid())
    code = ctypes.create_string_buffer(b"".join(program))
    call(libc.prctl, 38, 1, 0, 0, 0)
    # mode 1: a filter; flag 1: for all threads, and the number of one that it cannot be put on is a failure
    failed = call(libc.syscall, number, 1, 1, struct.pack("@HP", len(program), ctypes.addressof(code)))
    return "" if failed else "seccomp"


def _program(column: int, architecture: int, pid: int) -> list[bytes]:
    """The filter. A call's data: its number at 0, the architecture at 4, arguments of eight bytes each from 16 on."""

    def do(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_so, if_not, value)

    def answer(number: int, what: int) -> list[bytes]:
        return [do(EQUAL, number, 0, 1), do(RETURN, what)]

    def only_if(numbers: tuple[int, int], *conditions: tuple[int, int, int, bool]) -> list[bytes]:
        """Allow a call where the word at `place` is, or is not, in the given relation to `value`."""
        steps: list[bytes] = []
        for left, (place, relation, value, wanted) in zip(reversed(range(len(conditions))), conditions, strict=True):
            away = 2 * left + 1  # to the refusal
            steps += [do(LOAD, place), do(relation, value, *((0, away) if wanted else (away, 0)))]
        skip = do(EQUAL, numbers[column], 0, len(steps) + 2)
        return [skip, *steps, do(RETURN, ALLOW), do(RETURN, REFUSE | errno.EPERM)]

    program = [do(LOAD, 4), do(EQUAL, architecture, 1, 0), do(RETURN, REFUSE | errno.EPERM), do(LOAD, 0)]
    # x32's numbers too are beyond the newest
    program += [do(AT_LEAST, NEWEST + 1, 0, 1), do(RETURN, REFUSE | errno.ENOSYS)]
    program += answer(CLONE3, REFUSE | errno.ENOSYS)  # its flags are in memory; threads are then made by clone
    program += only_if((56, 220), (16, ANY_BIT, 0x10000, True))  # clone: threads (CLONE_THREAD)
    program += only_if((234, 131), (16, EQUAL, pid, True))  # tgkill: itself, as abort() does
    program += only_if((302, 261), (32, EQUAL, 0, True), (36, EQUAL, 0, True))  # prlimit64: asking
    program += only_if((72, 25), *((24, EQUAL, command, False) for command in (8, 10, 15)))  # fcntl: no F_SETOWN, ...
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None:
            program += answer(number, REFUSE | errno.EPERM)
    return [*program, do(RETURN, ALLOW)]


if __name__ == "__main__":  # what does this machine offer? `tinyadv doctor` asks
    print(", ".join(confine([sys.prefix, sys.base_prefix], [], os.getcwd())))
