"""Submissions that attack the grader: each is tried against every layer by itself, against all, and in a grading.

An attack is the body of a function that raises unless it has done its deed. `python tests/test_isolation.py` prints
which layers stop which attack, each layer alone; a test says that the system's own layers stop what they should
without Python's help, and another that leaving one out is noticed.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import select
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

import pytest

from tinyadv import dbm, ops
from tinyadv.course import confine, runner
from tinyadv.course import grade as grading
from tinyadv.course.export import tests_folder as folder_of_tests
from tinyadv.storage import remove_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is tested is Linux's")

# What attacks are given: SECRET is a file that is hidden, in a folder that may be read; OUTSIDE is a folder with a file
# `mine`; PARENT is the process that grades.
BEFORE = """import ctypes, io, os, sys, time, signal, threading
import numpy as np

def loot(data):
    data = data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)
    assert b"token: " in data, "nothing found"

def c(name, *args):
    done = getattr(ctypes.CDLL(None, use_errno=True), name)(*args)
    if done is None or done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done

def call(number, *args):
    return c("syscall", *[ctypes.c_long(a) if isinstance(a, int) else a for a in (number, *args)])

def run(pid):
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

"""
X86 = os.uname().machine == "x86_64" if hasattr(os, "uname") else False

READS = {
    "open": "loot(open(SECRET).read())",
    "io_FileIO": "loot(io.FileIO(SECRET).read())",
    "os_open": "loot(os.read(os.open(SECRET, os.O_RDONLY), 99))",
    "pathlib": "import pathlib\nloot(pathlib.Path(SECRET).read_text())",
    "fromfile": "loot(np.fromfile(SECRET, dtype='uint8'))",
    "memmap": "loot(np.memmap(SECRET, mode='r', dtype='uint8')[:99])",
    "genfromtxt": "loot(str(np.genfromtxt(SECRET, dtype=str, delimiter='|', comments=None)))",
    "mmap": "import mmap\nloot(mmap.mmap(os.open(SECRET, 0), 0, prot=mmap.PROT_READ)[:])",
    "linecache": "import linecache\nloot(linecache.getline(SECRET, 1))",
    "tokenize": "import tokenize\nloot(tokenize.open(SECRET).read())",
    "fileinput": "import fileinput\nloot(next(iter(fileinput.input([SECRET]))))",
    "run_path": "import runpy\nloot(runpy.run_path(SECRET)['__doc__'])",
    "loader": "import importlib.machinery as m\nloot(m.SourceFileLoader('a', SECRET).load_module().__doc__)",
    "get_data": "import importlib.machinery as m\nloot(m.SourceFileLoader('a', SECRET).get_data(SECRET))",
    "import_path": "sys.path.insert(0, os.path.dirname(SECRET))\nloot(__import__('lesson01').__doc__)",
    "copy": "import shutil\nshutil.copyfile(SECRET, 'copied')\nloot(open('copied').read())",
    "sqlite": "import sqlite3\ntry:\n    sqlite3.connect(SECRET).execute('pragma schema_version')\n"
    "except sqlite3.DatabaseError as error:\n    assert 'not a database' in str(error), error",
    "link": "os.link(SECRET, 'linked')\nloot(open('linked').read())",
    "symlink": "os.symlink(SECRET, 'pointed')\nloot(open('pointed').read())",
    "rename": "os.rename(SECRET, 'moved')\nos.rename('moved', SECRET)",
    "folder": "place = os.open(os.path.dirname(SECRET), os.O_RDONLY)\n"
    "loot(os.read(os.open('lesson01.py', 0, dir_fd=place), 99))",
    "libc_open": "buffer = ctypes.create_string_buffer(99)\nc('read', c('open', SECRET.encode(), 0), buffer, 98)\n"
    "loot(buffer.value)",
    "libc_fopen": "libc = ctypes.CDLL(None)\nlibc.fopen.restype = ctypes.c_void_p\n"
    "assert libc.fopen(SECRET.encode(), b'r')",
    "by_handle": "handle = ctypes.create_string_buffer(b'\\x80' + bytes(139))\nmount = ctypes.c_int()\n"
    "c('name_to_handle_at', -100, SECRET.encode(), handle, ctypes.byref(mount), 0)\n"
    "place = c('open', OUTSIDE.encode(), 0)\nloot(os.read(c('open_by_handle_at', place, handle, 0), 99))",
    "own_memory": "open('/proc/self/mem', 'rb').close()",
    "own_maps": "open('/proc/self/maps').close()",
    "files_of_the_grader": "os.listdir(f'/proc/{PARENT}/fd')",
    "environment_of_the_grader": "open(f'/proc/{PARENT}/environ', 'rb').read()",
    "memory_of_the_grader": "open(f'/proc/{PARENT}/mem', 'r+b').close()",
    "memory_by_call": "from ctypes import c_char, c_size_t, c_void_p\n"
    "class Part(ctypes.Structure):\n    _fields_ = [('base', c_void_p), ('length', c_size_t)]\n"
    "room = ctypes.create_string_buffer(8)\n"
    "to, of = Part(ctypes.addressof(room), 8), Part(id(None), 8)\n"
    "c('process_vm_readv', PARENT, ctypes.byref(to), 1, ctypes.byref(of), 1, 0)",
    "passwords": "open('/etc/passwd').close()",
    "home": "os.listdir(os.path.dirname(OUTSIDE))",
}
WRITES = {
    "open": "open(OUTSIDE + '/new', 'w').close()",
    "append": "open(OUTSIDE + '/mine', 'a').write('x')",
    "tmp": "p = f'/tmp/tinyadv-isolation-{os.getpid()}'\nopen(p, 'x').close()\nos.remove(p)",
    "dev_shm": "p = f'/dev/shm/tinyadv-isolation-{os.getpid()}'\nopen(p, 'x').close()\nos.remove(p)",
    "shared_memory": "import _posixshmem\n_posixshmem.shm_open('/tinyadv-isolation', os.O_CREAT | os.O_RDWR)\n"
    "_posixshmem.shm_unlink('/tinyadv-isolation')",
    "parent_folder": "open('../new', 'w').close()",
    "chdir": "os.chdir(OUTSIDE)\nopen('new', 'w').close()",
    "dir_fd": "open('new', 'w', opener=lambda p, f: os.open(p, f, dir_fd=os.open(OUTSIDE, os.O_PATH))).close()",
    "mkdir": "os.mkdir(OUTSIDE + '/new')",
    "mkfifo": "os.mkfifo(OUTSIDE + '/new')",
    "mknod": "os.mknod(OUTSIDE + '/new')",
    "device": "os.mknod('device', 0o600 | 0o020000, os.makedev(1, 3))",
    "remove": "os.remove(OUTSIDE + '/mine')",
    "rename_in": "os.rename(OUTSIDE + '/mine', 'mine')",
    "rename_out": "open('a', 'w').close()\nos.rename('a', OUTSIDE + '/new')",
    "link_out": "open('a', 'w').close()\nos.link('a', OUTSIDE + '/new')",
    "link_in": "os.link(OUTSIDE + '/mine', 'mine')",
    "symlink_out": "os.symlink('/', OUTSIDE + '/new')",
    "through_symlink": "os.symlink(OUTSIDE, 'way')\nopen('way/new', 'w').close()",
    "truncate": "os.truncate(OUTSIDE + '/mine', 0)",
    "chmod": "os.chmod(OUTSIDE + '/mine', 0o777)",
    "utime": "os.utime(OUTSIDE + '/mine', (0, 0))",
    "chown": "os.chown(OUTSIDE + '/mine', os.getuid(), os.getgid())",
    "xattr": "os.setxattr(OUTSIDE + '/mine', 'user.a', b'x')",
    "libc_chmod": "c('chmod', (OUTSIDE + '/mine').encode(), 0o777)",
    "libc_unlink": "c('unlink', (OUTSIDE + '/mine').encode())",
    "libc_creat": "c('creat', (OUTSIDE + '/new').encode(), 0o600)",
    "libc_truncate": "c('truncate', (OUTSIDE + '/mine').encode(), ctypes.c_long(0))",
    "save": "np.save(OUTSIDE + '/new.npy', np.zeros(2))",
    "memmap": "np.memmap(OUTSIDE + '/mine', mode='r+', dtype='uint8')[0] = 1",
    "logging": "import logging\nlogging.FileHandler(OUTSIDE + '/new')",
    "sqlite": "import sqlite3\nsqlite3.connect(OUTSIDE + '/new').execute('create table a (b)')",
    "dbm": "import dbm.dumb\ndbm.dumb.open(OUTSIDE + '/new', 'n').close()",
    "figure": "from matplotlib.figure import Figure\nFigure().savefig(OUTSIDE + '/new.svg')",
    "copytree": "import shutil\nshutil.copytree('.', OUTSIDE + '/new')",
    "rmtree": "import shutil\nshutil.rmtree(OUTSIDE)",
    "tests": "open(os.path.join(os.path.dirname(SECRET), '..', 'conftest.py'), 'a').close()",
    "mount": "c('mount', b'none', OUTSIDE.encode(), b'tmpfs', 0, None)\nc('umount', OUTSIDE.encode())",
    "its_folder": "os.rename(os.getcwd(), OUTSIDE + '/new')",
}
STARTS = {
    "fork": "run(os.fork())",
    "forkpty": "run(os.forkpty()[0])",
    "posix_spawn": "run(os.posix_spawn('/bin/true', ['true'], {}))",
    "system": "assert os.system('true') == 0",
    "subprocess": "import subprocess\nsubprocess.run(['true'], check=True)",
    "fork_exec": "import multiprocessing.util as u\nrun(u.spawnv_passfds(b'/bin/true', [b'true'], []))",
    "exec": "os.execv('/bin/true', ['true'])",
    "multiprocessing": "import multiprocessing as m\n"
    "p = m.get_context('fork').Process(target=print)\np.start()\np.join()\nassert p.exitcode == 0",
    "pty": "import pty\nrun(pty.fork()[0])",
    "libc_fork": "run(c('fork'))",
    "libc_system": "assert c('system', b'true') == 0",
    "syscall_clone": f"run(call({56 if X86 else 220}, 17, 0, 0, 0, 0))",
    "syscall_clone3": "room = ctypes.create_string_buffer(88)\nroom[32] = b'\\x11'\nrun(call(435, room, 88))",
    "syscall_vfork_or_clone": f"run(call({57 if X86 else 220}, 17, 0, 0, 0, 0))",
    "unshare": "c('unshare', 0x400)",
    "setsid": "os.setsid()",
    "signals_grader": "os.kill(PARENT, 0)",
    "signals_grader_pidfd": "signal.pidfd_send_signal(os.pidfd_open(PARENT), 0)",
    "signals_grader_libc": "c('kill', PARENT, 0)",
    "signals_grader_tgkill": f"call({234 if X86 else 131}, PARENT, PARENT, 0)",
    "signals_grader_by_file": "import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, PARENT)\n"
    "fcntl.fcntl(r, 10, 23)\nfcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\nos.write(w, b'x')",
    "traces_grader": "c('ptrace', 0x4206, PARENT, None, None)",
    "slows_grader": "os.setpriority(os.PRIO_PROCESS, PARENT, 10)",
}
CONNECTS = {
    "tcp": "import socket\nsocket.socket().bind(('127.0.0.1', 0))",
    "udp": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "unix": "import socket\nsocket.socket(socket.AF_UNIX).bind('socket')",
    "abstract": "import socket\nsocket.socket(socket.AF_UNIX).bind('\\0tinyadv')",
    "netlink": "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "socketpair": "import socket\nsocket.socketpair()",
    "_socketpair": "import _socket\n_socket.socketpair()",
    "asyncio": "import asyncio\nasyncio.run(asyncio.sleep(0))",
    "urllib": "import urllib.request\n"
    "try:\n    urllib.request.urlopen('http://127.0.0.1:9/')\n"
    "except OSError as error:\n    assert 'refused' in str(error), error",
    "getaddrinfo": "import socket\nsocket.create_server(('127.0.0.1', 0))",
    "libc_socket": "c('socket', 2, 1, 0)",
    "libc_socketpair": "pair = (ctypes.c_int * 2)()\nc('socketpair', 1, 1, 0, pair)",
    "io_uring": "call(425, 1, ctypes.create_string_buffer(120))",
    "keyring": f"call({250 if X86 else 219}, 0, -3, 0)",
    "message_queue": "c('msgctl', c('msgget', 0x7469, 0o1600), 0, None)",
    "memory_segment": "c('shmctl', c('shmget', 0, ctypes.c_long(4096), 0o1600), 0, None)",
}
TAKES = {
    "one_file": "with open('a', 'wb') as file:\n    for _ in range(20):\n        file.write(bytes(1 << 20))",
    "sparse_file": "with open('a', 'wb') as file:\n    file.truncate(1 << 40)",
    "large_files": "for i in range(14):\n    open(f'a{i}', 'wb').write(bytes(7 << 20))\ntime.sleep(1)",
    "many_files": "for i in range(2500):\n    open(f'a{i}', 'wb').close()\ntime.sleep(1)",
    "deep_folders": "for i in range(2500):\n    os.mkdir('a')\n    os.chdir('a')\ntime.sleep(1)",
    "long_names": "for i in range(40):\n    os.mkdir('a' * 250)\n    os.chdir('a' * 250)\ntime.sleep(1)",
    "names_of_bytes": "for i in range(2500):\n    os.mkdir(b'\\xff%d' % i)\ntime.sleep(1)",
    "deleted_files": "kept = []\nfor i in range(100):\n    kept.append(open('a', 'wb'))\n    os.remove('a')",
    "memory": "np.empty(3 << 30, 'uint8')",
    "memory_file": "os.memfd_create('a')",
    "threads": "import threading\nwait = threading.Event()\nthreading.stack_size(64 << 20)\nfor _ in range(60):\n"
    "    threading.Thread(target=wait.wait, daemon=True).start()",
    "processor": "while time.process_time() < 4:\n    pass",
    "processor_deaf": "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile time.process_time() < 4:\n    pass",
    "regex": "import re\nwhile time.process_time() < 4:\n    re.match('(a+)+$', 'a' * 24 + 'b')",
    "big_number": "n = 7 ** (10**6)\nwhile time.process_time() < 4:\n    n * n",
    "sleep": "time.sleep(10)",
    "timer_off": "signal.setitimer(signal.ITIMER_REAL, 0)\ntime.sleep(10)",
    "alarm_off": "signal.alarm(0)\ntime.sleep(10)",
    "limits_up": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))",
    "limits_up_libc": "room = (ctypes.c_ulong * 2)(10**6, 10**6)\nc('prlimit', 0, 0, room, None)",
}  # fmt: skip
OF_THE_SYSTEM = {"reads": READS, "writes": WRITES, "starts": STARTS, "connects": CONNECTS, "takes": TAKES}
ATTACKS = {f"{kind}_{name}": body for kind, attacks in OF_THE_SYSTEM.items() for name, body in attacks.items()}
LAYERS = ("audit", "Landlock", "seccomp", "privileges", "rlimits", "quota", "clock")
QUOTA = {f"takes_{name}" for name in ("large_files", "many_files", "deep_folders", "long_names", "names_of_bytes")}
WAITS = {f"takes_{name}" for name in ("processor", "processor_deaf", "regex", "big_number", "sleep", "timer_off")}
WAITS |= {"takes_alarm_off"}
ENDS = QUOTA | WAITS | {"takes_threads"}  # what ends its process, or spoils it for others

# Attacks on what judges, all in the submission's own process; each gets 0 points for x - 1, or has none.
FORGED = "send('test', 'test_{name}', '')\nos._exit(0)"
JUDGE = "import pytest\nfrom tinyadv.course import judging\n"
SILENT = "(lambda *a, **k: None).__code__"
RIGHT_OF = "if 'right' in f.f_locals:\n        return f.f_locals['right']\n    f = f.f_back"
TAMPERS = {
    "code": f"{JUDGE}judging.judge.__code__ = {SILENT}",
    "code_by_mock": f"{JUDGE}from unittest import mock\nmock.patch.object(judging.judge, '__code__', {SILENT}).start()",
    "code_by_monkeypatch": f"{JUDGE}pytest.MonkeyPatch().setattr(judging.judge, '__code__', {SILENT})",
    "code_by_operator": f"{JUDGE}list(map(setattr, [judging.judge], ['__code__'], [{SILENT}]))",
    "defaults": f"{JUDGE}judging.judge.__defaults__ = ([],)\njudging.judge.__kwdefaults__ = {{}}",
    "globals": f"{JUDGE}judging.judge.__globals__['close'] = lambda *a: True",
    "globals_and_back": f"{JUDGE}was = judging.close\nclass Back(np.ndarray):\n"
    "    def __del__(self):\n        judging.close = was\n"
    "judging.close = lambda *a: True\nreturn (x - 1).view(Back)",
    "helper_of_numpy": "np.testing.assert_allclose.__globals__['assert_array_compare'] = print",
    "builtins": "import builtins\nvars(builtins)['bool'] = lambda *a: True",
    "module": "import types\nsys.modules['tinyadv.course.judging'] = types.ModuleType('judging')",
    "class_by_type": "import _pytest.python\ntype.__setattr__(_pytest.python.Function, 'runtest', lambda self: None)",
    "report": "import _pytest.reports as r\nreal = r.TestReport.from_item_and_call.__func__\n"
    "def fake(cls, item, call):\n    call.excinfo = None\n    return real(cls, item, call)\n"
    "r.TestReport.from_item_and_call = classmethod(fake)",
    "outcome": "import _pytest.reports as r\n"
    "r.TestReport.outcome = property(lambda self: 'passed', lambda self, value: None)",
    "finder": "class Finder:\n    def find_spec(*a, **k):\n        raise SystemExit\nsys.meta_path.insert(0, Finder())",
    "frames": f"import inspect\nf = inspect.stack()[1].frame\nwhile f:\n    {RIGHT_OF}",
    "frames_by_traceback": f"import traceback\nf = next(traceback.walk_stack(None))[0]\nwhile f:\n    {RIGHT_OF}",
    "frames_by_logging": f"import logging\nf = logging.currentframe()\nwhile f:\n    {RIGHT_OF}",
    "frames_by_pytest": "import pytest\nwith pytest.raises(ZeroDivisionError) as error:\n    1 / 0\n"
    f"f = error.traceback[0].frame.raw\nwhile f:\n    {RIGHT_OF}",
    "frames_by_error": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    f = error.__traceback__.tb_frame\n"
    f"while f:\n    {RIGHT_OF}",
    "frames_by_generator": f"g = (1 for _ in [1])\nf = g.gi_frame\nnext(g)\nf = f.f_back\nwhile f:\n    {RIGHT_OF}",
    "frames_by_coroutine": f"async def go():\n    pass\nf = go().cr_frame\nwhile f:\n    {RIGHT_OF}",
    "frames_by_code_of_another_name": "space = {}\n"
    "exec(compile('import sys\\ndef f():\\n    return sys._getframe(2)', np.__file__, 'exec'), space)\n"
    f"f = space['f']()\nwhile f:\n    {RIGHT_OF}",
    "frames_by_marshal": "import marshal\nspace = {}\n"
    "exec(marshal.loads(marshal.dumps(compile('import sys\\ndef f():\\n    return sys._getframe(2)', '<a>', 'exec'))"
    f".replace(co_filename=np.__file__)), space)\nf = space['f']()\nwhile f:\n    {RIGHT_OF}",
    "collector": "import gc\nfor f in gc.get_objects():\n    if getattr(f, '__name__', '') == 'send':\n        f()",
    "collector_of_referrers": "import gc\nreturn gc.get_referrers(x)[0]['right']",
    "profile": "def look(frame, *a):\n    pass\nsys.setprofile(look)\nthreading.setprofile(look)\nreturn x + 1",
    "trace": "sys.settrace(lambda frame, *a: None)\nreturn x + 1",
    "sends": "for kind in object.__subclasses__():\n    for f in list(vars(kind).values()):\n"
    "        for cell in getattr(f, '__closure__', None) or ():\n            send = cell.cell_contents\n"
    f"            if getattr(send, '__name__', '') == 'send':\n                {FORGED}",
    "sends_by_debugger": "from _pytest.debugging import pytestPDB as p\nmanager = p._pluginmanager",
    "sends_by_import_hook": "manager = next(f for f in sys.meta_path if hasattr(f, 'config')).config.pluginmanager",
    "sends_by_assertion": "import _pytest.assertion.util as u\nmanager = u._config.pluginmanager",
    "equal": "class Yes(np.ndarray):\n    def __eq__(self, other):\n        return np.True_\nreturn x.view(Yes)",
    "equal_by_function": "class Yes(np.ndarray):\n    def __array_function__(self, f, types, args, kwargs):\n"
    "        return x.shape if f is np.shape else True\nreturn (x - 1).view(Yes)",
    "equal_by_ufunc": "class Yes(np.ndarray):\n    def __array_ufunc__(self, f, method, *args, **kwargs):\n"
    "        return np.ones(x.shape, bool)\nreturn (x - 1).view(Yes)",
    "equal_elsewhere": "class Yes(np.ndarray):\n    __module__ = 'numpy'\n    def __array_function__(self, f, *a):\n"
    "        return x.shape if f is np.shape else True\nreturn (x - 1).view(Yes)",
    "constant": "np.here.__globals__['RIGHT'] = x - 1",
    "constant_inside": "np.here.__globals__['RIGHT'][:] = x - 1",
    "constant_when_compared": "class Yes:\n    def __array__(self, *a, **k):\n"
    "        np.here.__globals__['RIGHT'] = x - 1\n        return x - 1\nreturn Yes()",
    "reference": "for m in list(sys.modules.values()):\n    if hasattr(m, 'RIGHT'):\n        return m.RIGHT.copy()",
    "reference_imported": "sys.path.insert(0, os.path.dirname(os.path.dirname(SECRET)))\n"
    "import test_lesson01\nreturn test_lesson01.RIGHT.copy()",
    "reference_read": "text = open(os.path.join(os.path.dirname(SECRET), '..', 'test_lesson01.py')).read()\n"
    "return x + 1",
    "array": "class Yes:\n    def __array__(self, *a, **k):\n        return x + 1\nreturn Yes()",
    "array_elsewhere": "class Yes:\n    __module__ = 'json'\n    def __array__(self, *a, **k):\n"
    "        import json\n        return x + 1\nimport json\njson.Yes = Yes\nreturn Yes()",
    "array_patches": "class Yes:\n    def __array__(self, *a, **k):\n        np.testing.assert_allclose = print\n"
    "        return x + 1\nreturn Yes()",
    "arithmetic": "class Yes(np.ndarray):\n    def __sub__(self, other):\n        return np.zeros(2)\n"
    "    __rsub__ = __sub__\n    def all(self, *a, **k):\n        return True\nreturn (x - 1).view(Yes)",
    "number": "class Yes(float):\n    def __sub__(self, other):\n        return np.zeros(2)\n    __rsub__ = __sub__\n"
    "return [Yes(n) for n in x]",
    "known_to_the_guard": "class Yes(np.ndarray):\n    def __sub__(self, other):\n        return np.zeros(2)\n"
    "    __rsub__ = __sub__\n    def all(self, *a, **k):\n        return True\n"
    "for cell in sys.modules['lesson01_one'].known_to_the_guard.__closure__ or ():\n"
    "    if isinstance(cell.cell_contents, set):\n        cell.cell_contents.add(Yes)\nreturn (x - 1).view(Yes)",
    "array_of_objects": "class Yes:\n    def __eq__(self, other):\n        return True\n"
    "return np.array([Yes(), Yes()], object)",
    "pickle": "import pickle\npickle.loads(b'cos\\nsystem\\n(S\"true\"\\ntR.')\nreturn x + 1",
    "at_the_end": "import atexit\natexit.register(os._exit, 0)",
    "codec": "import codecs\ncodecs.register(lambda name: None)",
    "last_words": "class Late:\n    def __del__(self):\n        os._exit(0)\nlate = Late()",
}
for _name in ("debugger", "import_hook", "assertion"):  # from a manager of plugins to what signs
    TAMPERS[f"sends_by_{_name}"] += (
        "\nfor p in manager.get_plugins():\n    f = getattr(p, 'pytest_runtest_makereport', None)\n"
        "    for cell in getattr(f, '__closure__', None) or ():\n        send = cell.cell_contents\n"
        f"        if getattr(send, '__name__', '') == 'send':\n            {FORGED}".replace(
            "{name}", f"sends_by_{_name}"
        )
    )
TAMPERS["sends"] = TAMPERS["sends"].replace("{name}", "sends")


def source(bodies: dict[str, str], secret: Path, outside: Path, parent: int, last: str) -> str:
    """A lesson, with an attack in each function; where the deed is done, the answer is `last`."""
    text = f"{BEFORE}SECRET, OUTSIDE, PARENT, HERE = {str(secret)!r}, {str(outside)!r}, {parent}, os.getcwd()\n\n\n"
    for name, body in bodies.items():
        lines = ["os.chdir(HERE)", *body.rstrip().splitlines(), last]
        text += f"def {name}(x):\n" + "".join(f"    {line}\n" for line in lines) + "\n\n"
    return text


# ---------------------------------------------------------------------------------------------------------
# Chosen layers: a process of its own for each attack, forked from one that has everything imported


def attempt(attacks: dict[str, str], layers: tuple[str, ...], place: Path) -> dict[str, str]:
    """What became of each attack where only these layers hold: "done", or what stopped it."""
    spec = {"attacks": attacks, "layers": layers, "place": str(place)}
    path = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, "-B", __file__, "--serve"], input=json.dumps(spec), capture_output=True, text=True,
        check=False, env={**os.environ, **path},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return found


def serve() -> None:
    spec = json.loads(sys.stdin.read())
    for name in ("asyncio", "matplotlib.figure", "multiprocessing.context", "shutil", "sqlite3", "urllib.request"):
        importlib.import_module(name)  # once, not in each process
    place, found = Path(spec["place"]), {}
    tests = place / "tests"
    (tests / "wrong").mkdir(parents=True, exist_ok=True)
    (tests / "conftest.py").touch()
    (tests / "wrong" / "lesson01.py").write_text('"""token: it"""\n')
    grading.tests_folder = lambda: tests
    for name, body in spec["attacks"].items():
        work, outside = Path(tempfile.mkdtemp(dir=place)), Path(tempfile.mkdtemp(dir=place))
        (outside / "mine").write_text("mine")
        (work / "lessons").mkdir()
        before = state(outside)
        text = source({"attack": body}, tests / "wrong" / "lesson01.py", outside, os.getpid(), "return 'done'")
        found[name] = forked(work, text, spec["layers"], name in WAITS)
        if state(outside) != before:
            found[name] = "done"
        remove_folder(str(work))
        remove_folder(str(outside))
    print(json.dumps(found))


def state(folder: Path) -> object:
    """All that an attack could change."""
    if not folder.is_dir():
        return None
    return [
        (
            path.name,
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.lstat().st_uid,
            os.listxattr(path),
            path.lstat().st_size,
        )
        for path in sorted(folder.iterdir())
    ]


def forked(work: Path, text: str, layers: list[str], waits: bool) -> str:
    there, here = os.pipe()
    alive = os.pipe()  # as the grader's end of it
    pid = os.fork()
    if pid == 0:
        os.close(there)
        try:
            said = tried(work, text, layers, waits, alive[0])
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(here, said.encode()[:999])
        os._exit(1)
    os.close(here)
    said = waited(pid, there, work, layers, 8 if waits and "clock" in layers else 15 if waits else 60)
    for end in (there, *alive):
        os.close(end)
    return said


def tried(work: Path, text: str, layers: list[str], waits: bool, alive: int) -> str:
    def off(*_):
        raise OSError

    for layer, part in {"Landlock": "_landlock", "seccomp": "_seccomp", "privileges": "_unprivileged"}.items():
        if layer not in layers:
            setattr(confine, part, off)
    if "rlimits" not in layers:
        runner._limit = lambda *_: None
    if "audit" not in layers:
        sys.addaudithook = lambda hook: None
    submission = work / "lessons" / "lesson01_one.py"
    job = grading._job(submission, 1, "attack", {}) | {"memory": 2 << 30, "alive": alive}
    job |= {"seconds": 0.5, "clock": 5.0} if waits else {"seconds": 60.0, "clock": 60.0}
    os.chdir(work)
    space: dict = {}
    exec(compile(text, str(submission), "exec"), space)
    runner.arm(job)
    return space["attack"](space["np"].array([1.0, 2.0]))


def waited(pid: int, pipe: int, work: Path, layers: list[str], seconds: float) -> str:
    start, stopped = monotonic(), ""
    while not select.select([pipe], [], [], grading.PULSE)[0]:
        if monotonic() - start > seconds:
            stopped = "ended by the clock" if "clock" in layers else "done"
        if "quota" in layers and (too_much := grading._too_much(str(work))):
            stopped = too_much
        if stopped:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return stopped
    said = os.read(pipe, 999).decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return said or (f"ended by {signal.Signals(-code).name}" if code < 0 else "done")


# ---------------------------------------------------------------------------------------------------------
# Tests

SYSTEM = ("Landlock", "seccomp", "privileges", "rlimits", "quota", "clock")
FEW = {name: body for name, body in ATTACKS.items() if name not in WAITS}
needs_all = pytest.mark.skipif("not offered()", reason="this system offers no Landlock or no seccomp")


def offered() -> bool:
    said = subprocess.run([sys.executable, "-I", confine.__file__], capture_output=True, text=True, check=True).stdout
    return "Landlock" in said and "seccomp" in said


@needs_all
@pytest.mark.parametrize("left_out", [QUOTA - {"takes_many_files"}, pytest.param(set(), marks=pytest.mark.slow)])
def test_the_system_stops_every_attack_without_pythons_help(left_out, tmp_path):
    found = attempt({name: body for name, body in FEW.items() if name not in left_out}, SYSTEM, tmp_path)
    assert {name: said for name, said in found.items() if said == "done"} == {}
    assert found["starts_syscall_clone"] == "PermissionError: [Errno 1] Operation not permitted"
    assert found["takes_many_files"].startswith("it wrote more than 2,000 files")


@pytest.mark.slow
def test_every_attack_does_its_deed_where_nothing_stops_it(tmp_path):
    found = attempt(ATTACKS, (), tmp_path)
    assert {name for name, said in found.items() if said != "done"} <= REFUSED_ANYWAY, found


REFUSED_ANYWAY = {  # to those who are not root, or in many containers
    "reads_by_handle", "reads_memory_by_call", "reads_memory_of_the_grader", "writes_device", "writes_mount",
    "writes_xattr", "starts_traces_grader", "connects_io_uring", "connects_keyring", "connects_netlink",
    "takes_limits_up", "takes_limits_up_libc",
}  # fmt: skip


@needs_all
@pytest.mark.slow
def test_the_system_ends_what_does_not_end(tmp_path):
    found = attempt({name: ATTACKS[name] for name in WAITS}, SYSTEM, tmp_path)
    assert {name: said for name, said in found.items() if said == "done"} == {}


MATTERS = {  # a layer, and an attack that only it stops, of the system's
    "Landlock": ("reads_open", "reads_own_memory", "writes_open", "writes_mkfifo", "writes_tmp"),
    "seccomp": ("starts_fork", "starts_setsid", "connects_udp", "connects_libc_socket", "writes_chmod", "writes_utime"),
    "privileges": (),
    "rlimits": ("takes_one_file", "takes_sparse_file", "takes_deleted_files", "takes_memory"),
    "quota": ("takes_many_files",),
}  # fmt: skip


@needs_all
@pytest.mark.parametrize("layer", [layer for layer, attacks in MATTERS.items() if attacks])
def test_each_layer_matters(layer, tmp_path):
    attacks = {name: ATTACKS[name] for name in MATTERS[layer]}
    found = attempt(attacks, tuple(one for one in SYSTEM if one != layer), tmp_path)
    assert {name: said for name, said in found.items() if said != "done"} == {}


def answer(program: list[bytes], number: int, architecture: int, *arguments: int) -> int:
    """What a filter says to a call, by the rules of the classic packet filter."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(*arguments, *[0] * 6)[:6])
    here = word = 0
    while True:
        code, if_so, if_not, value = struct.unpack("=HBBI", program[here])
        here += 1
        if code == confine.RETURN:
            return value
        if code == confine.LOAD:
            (word,) = struct.unpack_from("=I", data, value)
        else:
            so = {confine.EQUAL: word == value, confine.AT_LEAST: word >= value, confine.ANY_BIT: bool(word & value)}
            here += if_so if so[code] else if_not


@pytest.mark.parametrize("machine", confine.MACHINES)
def test_the_filter(machine):
    """On every processor that it is written for, also those that this is not."""
    column, architecture, _ = confine.MACHINES[machine]
    program = confine._program(column, architecture, 77)
    refused, unknown = confine.REFUSE | 1, confine.REFUSE | 38
    numbers = [pair[column] for pair in confine.REFUSED.values() if pair[column] is not None]
    assert len(numbers) == len(set(numbers))
    assert {answer(program, number, architecture) for number in numbers} == {refused}
    assert answer(program, 0 if column == 0 else 63, architecture) == confine.ALLOW  # read
    assert answer(program, 0, architecture ^ 1) == answer(program, 0, 0x40000003) == refused
    assert answer(program, 0x40000000, architecture) == answer(program, 435, architecture) == unknown  # x32, clone3
    clone, tgkill, limit, fcntl = ((56, 220), (234, 131), (302, 261), (72, 25))
    assert answer(program, clone[column], architecture, 0x3D0F00) == confine.ALLOW
    assert answer(program, clone[column], architecture, 17) == refused
    assert answer(program, tgkill[column], architecture, 77, 78, 6) == confine.ALLOW
    assert answer(program, tgkill[column], architecture, 76, 77, 6) == refused
    assert answer(program, limit[column], architecture, 0, 7, 0, 9) == confine.ALLOW
    for pointer in (8, 1 << 32):
        assert answer(program, limit[column], architecture, 0, 7, pointer, 0) == refused
    assert [answer(program, fcntl[column], architecture, 3, n) for n in (1, 8, 10, 15)] == [
        confine.ALLOW,
        *[refused] * 3,
    ]


def test_elsewhere_nothing_holds_and_nothing_fails(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        held = confine.confine([], [], "nowhere")
    assert held == ()


def test_what_is_hidden_is_no_part_of_what_may_be_read(tmp_path):
    for name in ("a/b/secret/x", "a/b/c", "a/d", "e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "way").symlink_to(tmp_path / "a" / "b" / "secret")
    hidden = [str(tmp_path / "a" / "b" / "secret")]
    assert sorted(confine._without(str(tmp_path), hidden)) == [str(tmp_path / name) for name in ("a/b/c", "a/d", "e")]
    assert [*confine._without(hidden[0], hidden)] == []
    assert [*confine._without(str(tmp_path / "e"), hidden)] == [str(tmp_path / "e")]


# ---------------------------------------------------------------------------------------------------------
# The disk


def test_cleaning_up_copes_with_any_folder(tmp_path):
    top, outside = tmp_path / "top", tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").touch()
    (top / "a").mkdir(parents=True)
    os.mkdir(os.path.join(os.fsencode(top), b"\xff\n"))
    (top / "way").symlink_to(outside)
    here = os.open(top, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("deep", 0o700, dir_fd=here)
        (old, here) = here, os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(old)
    os.close(here)
    (top / "a" / "closed" / "inner").mkdir(parents=True)
    (top / "a" / "closed" / "inner" / "file").touch()
    for folder in (top / "a" / "closed" / "inner", top / "a" / "closed", top / "a"):
        folder.chmod(0)
    remove_folder(str(top))
    assert not top.exists()
    assert [*outside.iterdir()] == [outside / "mine"]


def test_one_that_fills_the_disk_costs_its_own_points(tmp_path, monkeypatch):
    def check(folder: Path) -> None:
        if (folder / "work" / "large").exists():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(grading, "_check_disk", check)
    bodies = {"fills": "open('large', 'w').close()\nos._exit(0)", "right": "return x + 1"}
    said = graded(tmp_path, monkeypatch, {name: {name: body} for name, body in bodies.items()}, "return x - 1")
    assert said == {"fills": "it filled the disk: does it write a file in a loop?", "right": ""}


# ---------------------------------------------------------------------------------------------------------
# A grading, with all layers


def graded(
    tmp_path: Path, monkeypatch, groups: dict[str, dict[str, str]], last: str, seconds: float = 60.0
) -> dict[str, str]:
    """What a submission of these attacks hears, by attack; each group is an exercise, so a process."""
    tests, secret, outside = tmp_path / "tests", secrets.token_hex(), tmp_path / "outside"
    (tests / "wrong").mkdir(parents=True)
    outside.mkdir()
    (outside / "mine").write_text(secret)
    (tests / "wrong" / "lesson01.py").write_text(f'"""token: {secret}"""\n')
    (tests / "conftest.py").write_text(
        (folder_of_tests() / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    test = "import numpy as np\nimport pytest\nfrom numpy.testing import assert_allclose\n"
    test += "from tinyadv.course.judging import judge\n\nRIGHT = np.array([2.0, 3.0])\n"
    test += "def here():\n    pass\nnp.here = here\n"  # as what tests hand to a submission, a way to them
    for group, bodies in groups.items():
        for name in bodies:
            test += f'\n\n@pytest.mark.exercise("{group}", points=1)\ndef test_{name}(lesson):\n'
            test += "    right = RIGHT.copy()\n    given = lesson." + name + "(right - 1)\n"
            test += "    judge(given, RIGHT)\n    assert_allclose(given, RIGHT)\n"
            test += '    assert bool((given == RIGHT).all()), "no"\n'
    (tests / "test_lesson01.py").write_text(test)
    course = "".join(f"def {n}(x):\n    ### BEGIN SOLUTION\n    pass\n    ### END SOLUTION\n\n" for n in groups)
    (tmp_path / "lesson01_one.py").write_text(course)
    handed_in = tmp_path / "handed in" / "lessons" / "lesson01_one.py"
    handed_in.parent.mkdir(parents=True)
    every = {name: body for bodies in groups.values() for name, body in bodies.items()}
    handed_in.write_text(source(every, tests / "wrong" / "lesson01.py", outside, os.getpid(), last))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(grading, "tests_folder", lambda: tests)
    monkeypatch.setattr(grading, "graded_lessons", lambda: {1: tmp_path / "lesson01_one.py"})
    monkeypatch.setattr(grading, "chosen_lessons", lambda _: {1: tmp_path / "lesson01_one.py"})
    before, niceness = state(outside), os.getpriority(os.PRIO_PROCESS, 0)
    exercises = grading.grade(handed_in.parents[1], seconds=seconds)
    assert secret not in repr(exercises)
    assert state(outside) == before
    assert os.getpriority(os.PRIO_PROCESS, 0) == niceness
    assert list(temporary.iterdir()) == []
    assert list(Path("/dev/shm").glob("tinyadv-isolation*")) == list(Path("/tmp").glob("tinyadv-isolation*")) == []
    assert processes(str(temporary)) == []
    return {check.name.removeprefix("test_"): check.feedback for exercise in exercises for check in exercise.tests}


def processes(folder: str) -> list[str]:
    """The processes that were started for a folder, by what they were given as their home."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if folder.encode() in (place / "environ").read_bytes():
                found.append(place.name)
        except OSError:  # gone, or another's
            continue
    return found


@pytest.mark.parametrize("part", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_no_attack_earns_a_point_or_leaves_a_trace(part, tmp_path, monkeypatch):
    """One process for most of them, and one for one that ends it."""
    names = ["starts_fork", *[name for name in FEW if name not in ENDS][::part]]
    together = {name: FEW[name] for name in sorted(names)}
    alone = {"takes_large_files": {"takes_large_files": ATTACKS["takes_large_files"]}}
    said = graded(tmp_path, monkeypatch, {"together": together, **alone}, "return x + 1")
    assert {name for name, line in said.items() if not line} == set()
    assert said["takes_large_files"].startswith("it wrote more than 64 MiB")
    assert said["starts_fork"].startswith("PermissionError: an exercise may not do this: os.fork")


@pytest.mark.slow
def test_no_attack_that_ends_its_process_earns_a_point(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "GRACE", 20.0)
    said = graded(tmp_path, monkeypatch, {name: {name: ATTACKS[name]} for name in ENDS}, "return x - 1", 2.0)
    assert {name for name, line in said.items() if not line} == set()


SOME = ("code_by_mock", "globals_and_back", "report", "frames", "sends", "equal_by_function", "constant", "array")
SOME += ("arithmetic", "known_to_the_guard", "reference", "reference_imported", "reference_read")


@pytest.mark.parametrize("names", [SOME, pytest.param(tuple(TAMPERS.keys() - set(SOME)), marks=pytest.mark.slow)])
def test_no_tampering_earns_a_point(names, tmp_path, monkeypatch):
    said = graded(tmp_path, monkeypatch, {name: {name: TAMPERS[name]} for name in names}, "return x - 1")
    assert {name for name, line in said.items() if not line} == set()


def test_the_package_s_formulas_and_tables_are_watched(monkeypatch):
    """Tests compute right answers by them: a formula that is another makes another answer right."""
    formulas, tables = runner.unchanged({"tinyadv"}), runner.constants({"tinyadv.dbm": dbm})
    formulas()
    tables()
    with monkeypatch.context() as changed:
        changed.setattr(ops.exp, "formulas", ())
        with pytest.raises(runner.TamperedError, match=r"ops\.exp\.formulas"):
            formulas()
        changed.setitem(dbm.MAX_NORMS, "layers.0.W1", 0.0)
        with pytest.raises(runner.TamperedError, match=r"tinyadv\.dbm\.MAX_NORMS"):
            tables()
    formulas()
    tables()


# ---------------------------------------------------------------------------------------------------------
# The table


def table() -> None:
    print(f"{'':36}" + "".join(f"{layer:>11}" for layer in LAYERS))
    with tempfile.TemporaryDirectory() as place:
        alone = {layer: attempt(ATTACKS, (layer,), Path(place)) for layer in LAYERS}
    for name in ATTACKS:
        print(f"{name:36}" + "".join(f"{'' if alone[layer][name] == 'done' else 'stops':>11}" for layer in LAYERS))
    for kind in OF_THE_SYSTEM:
        names = [name for name in ATTACKS if name.startswith(kind)]
        stopped = (sum(alone[layer][name] != "done" for name in names) for layer in LAYERS)
        print(f"{f'{kind}: {len(names)}':36}" + "".join(f"{n:>11}" for n in stopped))


if __name__ == "__main__":
    serve() if "--serve" in sys.argv else table()
