"""Network namespaces as "hosts", joined by veth pairs of a given rate and delay; what `hosts.py` and `cut.py` share. Root.

Host k is the namespace `stgK`, with `eth0` (10.77.0.K+1) at one end of a veth pair; the other end, `stgKb`, is on a bridge. `tbf` limits
both ends. Without a delay there is one bridge. With one there is a bridge per host, and `forwarder.c` carries frames between them
through TAP devices.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = ["ip", "tc", "unshare", "mpirun"]
EVERY = [f"stg{host}" for host in range(8)]
LOCK = "/run/lock/stagger-hosts"


def need(*more):
    """Ends with a sentence where namespaces cannot be made."""
    if os.geteuid() != 0:
        sys.exit("Network namespaces need root: run this with sudo.")
    missing = [tool for tool in [*TOOLS, *more] if shutil.which(tool) is None]
    if missing:
        sys.exit(f"Not found: {', '.join(missing)}. On Debian: apt-get install iproute2 util-linux openmpi-bin gcc")
    lock = os.open(LOCK, os.O_CREAT | os.O_RDWR)  # Stays open, and thereby held, as long as this process.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit("Another run has these namespaces; wait for its end.")
    if "cc" in more and not os.path.exists("/dev/net/tun"):
        sys.exit("A delay needs TAP devices, and there is no /dev/net/tun: load module tun, or leave delays out (--delay-ms 0).")


def end_on_signals():
    """Signals that end a process raise SystemExit, so that namespaces are removed."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def call(*words):
    result = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(words)}: {result.stderr.strip() or result.returncode}")


def attempt(*words):
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Hosts:
    """Namespaces `stg0` …; `delay_ms` is the delay of one way, None for no forwarder at all. With `buffer_bytes` TCP keeps that much
    for a connection, and does not start slowly again after a pause."""

    def __init__(self, count, delay_ms=None, buffer_bytes=None):
        self.names = [f"stg{host}" for host in range(count)]
        self.buffer_bytes = buffer_bytes
        self.delay_ms = delay_ms
        self.forwarder = None
        self.folder = None

    def __enter__(self):
        self.remove()
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.forwarder:
            self.forwarder.stdin.close()
            self.forwarder.wait()
        self.remove()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def make(self):
        self.folder = tempfile.mkdtemp(prefix="stagger-hosts-")
        if self.delay_ms is not None:
            self.start_forwarder()
        table = "127.0.0.1 localhost\n" + "".join(f"10.77.0.{host + 1} {name}\n" for host, name in enumerate(self.names))
        for host, name in enumerate(self.names):
            bridge = "stgbr0" if self.delay_ms is None else f"stgbr{host}"
            if host == 0 or self.delay_ms is not None:
                call("ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
                call("ip", "link", "set", bridge, "up")
            if self.delay_ms is not None:
                call("ip", "link", "set", f"stgtap{host}", "master", bridge, "up")
            os.makedirs(f"/etc/netns/{name}", exist_ok=True)
            with open(f"/etc/netns/{name}/hosts", "w") as file:
                file.write(table)
            call("ip", "netns", "add", name)
            call("ip", "link", "add", f"{name}b", "type", "veth", "peer", "name", "eth0", "netns", name)
            call("ip", "link", "set", f"{name}b", "master", bridge, "up")
            self.inside(name, "ip", "link", "set", "eth0", "address", f"02:00:00:00:00:{host + 1:02x}")
            self.inside(name, "ip", "addr", "add", f"10.77.0.{host + 1}/24", "dev", "eth0")
            self.inside(name, "ip", "link", "set", "eth0", "up")
            self.inside(name, "ip", "link", "set", "lo", "up")
            # What most systems have. By route, as a namespace may not set a default that the system does not allow to all.
            if "cubic" in congestion_controls():
                self.inside(name, "ip", "route", "replace", "10.77.0.0/24", "dev", "eth0", "src", f"10.77.0.{host + 1}", "congctl", "cubic")
                for here in ("127.0.0.0/8", "127.0.0.1"):
                    local = ["local", here, "dev", "lo", "proto", "kernel", "scope", "host", "src", "127.0.0.1", "congctl", "cubic"]
                    self.inside(name, "ip", "route", "replace", "table", "local", *local)

            if self.buffer_bytes:
                for setting in tcp_settings(self.buffer_bytes):
                    self.inside(name, "sysctl", "-q", "-w", setting)

        for host in range(len(self.names)):
            self.reach(host)

    def start_forwarder(self):
        program = os.path.join(self.folder, "forwarder")
        call("cc", "-O2", "-o", program, os.path.join(HERE, "forwarder.c"))
        taps = [f"stgtap{host}" for host in range(len(self.names))]
        words = [program, str(round(1000 * self.delay_ms)), *taps]
        self.forwarder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.forwarder.stdout.readline() != "ready\n":
            sys.exit("The forwarder did not start; its error is above.")
        # A wire needs no processor, so this must not wait for one.
        os.setpriority(os.PRIO_PROCESS, self.forwarder.pid, -15)

    def forwarder_seconds(self):
        """Processor time that the forwarder has taken."""
        if self.forwarder is None:
            return 0.0
        with open(f"/proc/{self.forwarder.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def inside(name, *words):
        call("ip", "netns", "exec", name, *words)

    def limit(self, rate):
        """Limits what every host sends, and what is sent to it; None removes the limits."""
        for name in self.names:
            ends = [(["ip", "netns", "exec", name], "eth0"), ([], f"{name}b")]
            for where, device in ends:
                if rate is None:
                    attempt(*where, "tc", "qdisc", "del", "dev", device, "root")
                else:
                    shape = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "400ms"]
                    call(*where, "tc", "qdisc", "replace", "dev", device, *shape)

    def sent(self):
        """Bytes that each host has sent over its link, with all headers."""
        return [counter(f"{name}b", "rx_bytes") for name in self.names]

    def received(self):
        """Bytes that each host has received."""
        return [counter(f"{name}b", "tx_bytes") for name in self.names]

    def cable(self, host, is_up):
        """Pulls the cable of a host, or plugs it in."""
        call("ip", "link", "set", f"{self.names[host]}b", "up" if is_up else "down")

    def reach(self, host, limit_s=30):
        """Waits until a host reaches the first again, as a link takes a second or two to work."""
        until = time.monotonic() + limit_s
        words = [sys.executable, "-c", REACH, "10.77.0.1" if host else "10.77.0.2"]
        while subprocess.run(["ip", "netns", "exec", self.names[host], *words]).returncode != 0:
            if time.monotonic() > until:
                sys.exit(f"{self.names[host]} does not reach its neighbour {limit_s} s after its link was set up.")
            time.sleep(0.2)

    def processes(self, names=None):
        """Process ids in the namespaces."""
        found = []
        for name in names or self.names:
            result = subprocess.run(["ip", "netns", "pids", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            found += [int(word) for word in result.stdout.split()]
        return found

    def clear(self, names=None):
        """Kills what still runs in the namespaces, and gives its names."""
        left = self.processes(names)
        found = sorted(filter(None, map(command, left)))
        for _ in range(50):
            for process in left:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            left = self.processes(names)
            if not left:
                break
            time.sleep(0.1)
        return found

    def remove(self):
        """Removes the namespaces, also those of an earlier run that was killed."""
        there = [name for name in os.listdir("/run/netns") if name in EVERY] if os.path.isdir("/run/netns") else []
        if there:
            self.clear(there)
        for host, name in enumerate(EVERY):
            attempt("ip", "netns", "del", name)
            attempt("ip", "link", "del", f"{name}b")
            attempt("ip", "link", "del", f"stgbr{host}")
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    def mpirun(self, *options):
        """The words that start one rank in each namespace, to be followed by a command."""
        agent = os.path.join(self.folder, "agent.sh")
        if not os.path.exists(agent):
            with open(agent, "w") as file:
                file.write(AGENT)
            os.chmod(agent, 0o755)
        hosts = ",".join(f"{name}:1" for name in self.names)
        return [*self.on(0), "mpirun", "-n", str(len(self.names)), "--bind-to", "none", "--host", hosts,
                "--mca", "plm_rsh_agent", agent, *tcp("eth0"), *options]  # fmt: skip

    def mpirun_on_one(self):
        """The words that start the same ranks in the first namespace, connected through its loopback interface."""
        return [*self.on(0), "mpirun", "-n", str(len(self.names)), "--bind-to", "none", "--oversubscribe", *tcp("lo")]

    def on(self, host):
        """The words that run a command on a host, under its name."""
        name = self.names[host]
        return ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", f'hostname {name}; exec "$@"', "sh"]


def tcp(device):
    return ["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", device, "--mca", "oob_tcp_if_include", device]


def congestion_controls():
    """Those that there are; the first is the one that hosts use."""
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
        names = file.read().split()
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
        default = file.read().strip()
    return ["cubic", *names] if "cubic" in names else [default, *names]


def tcp_settings(buffer_bytes):
    """What docs/processes.md, "Hosts far apart", sets."""
    return [f"net.ipv4.tcp_wmem=4096 16384 {buffer_bytes}", f"net.ipv4.tcp_rmem=4096 131072 {buffer_bytes}",
            "net.ipv4.tcp_slow_start_after_idle=0"]  # fmt: skip


def send_buffer():
    """The most bytes that TCP keeps for a connection until they are acknowledged."""
    with open("/proc/sys/net/ipv4/tcp_wmem") as file:
        return int(file.read().split()[2])


def command(process):
    try:
        with open(f"/proc/{process}/comm") as file:
            return file.read().strip()
    except OSError:
        return None


def counter(device, name):
    with open(f"/sys/class/net/{device}/statistics/{name}") as file:
        return int(file.read())


# A host that refuses a connection is there.
REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 1)
except ConnectionRefusedError:
    pass
except OSError:
    sys.exit(1)
"""

# What `mpirun` calls instead of ssh: the host, and then a command.
AGENT = """#!/bin/sh
host=$1
shift
exec ip netns exec "$host" unshare --uts sh -c "hostname $host; $*"
"""
