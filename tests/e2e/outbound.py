#!/usr/bin/env python3
"""Whether traced programs have spoken to anything but this machine: exit code 1, and each call that did.

    strace -f -qq -e trace=connect,sendto,sendmsg,sendmmsg -o LOG PROGRAM...; outbound.py LOG
    outbound.py --check      traces programs that do speak outwards, and one that does not

Local are Unix sockets, netlink and loopback addresses, but for port 53 and systemd's resolver: that is a question for the outside."""
import ipaddress
import re
import subprocess
import sys
import tempfile

CALLS = "connect,sendto,sendmsg,sendmmsg"
LOCAL = {"AF_UNIX", "AF_NETLINK", "AF_UNSPEC"}


def is_local(call):
    """Of one line of strace's; a call without an address goes where its socket was connected to."""
    for family, rest in re.findall(r"sa_family=(\w+)([^}]*)", call):
        if family in ("AF_INET", "AF_INET6"):
            address = re.search(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', rest)
            if not address or re.search(r"sin6?_port=htons\(53\)", rest):
                return False
            address = ipaddress.ip_address(address[1] or address[2])
            address = getattr(address, "ipv4_mapped", None) or address
            if not (address.is_loopback or address.is_unspecified):
                return False
        elif family not in LOCAL or "io.systemd.Resolve" in rest or "systemd/resolve" in rest:
            return False
    return True


def judge(path):
    with open(path, errors="replace") as log:
        calls = [line for line in log if re.search(r"\b(connect|sendto|sendmsg|sendmmsg)\(", line)]
    outward = [line for line in calls if not is_local(line)]
    return calls, outward


def trace(program):
    with tempfile.NamedTemporaryFile() as log:
        subprocess.run(["strace", "-f", "-qq", "-e", "trace=" + CALLS, "-o", log.name, sys.executable, "-c", "import socket\n" + program], check=True)
        return judge(log.name)


def check():
    """Nothing of this leaves the machine: connecting a datagram socket sends nothing."""
    datagram = "s = socket.socket(socket.{}, socket.SOCK_DGRAM)\ntry: s.{}\nexcept OSError: pass"
    for family, call in [("AF_INET", "connect(('192.0.2.1', 9))"), ("AF_INET6", "connect(('2001:db8::1', 9))"),
                         ("AF_INET", "sendto(b'x', ('127.0.0.53', 53))"), ("AF_INET6", "connect(('::ffff:192.0.2.1', 9))")]:
        calls, outward = trace(datagram.format(family, call))
        assert len(outward) == 1, (family, call, calls)
    near = [datagram.format("AF_INET", "connect(('127.0.0.1', 9))"), datagram.format("AF_INET6", "connect(('::1', 9))"),
            datagram.format("AF_UNIX", "connect('/nowhere')")]
    calls, outward = trace("\n".join(near))
    assert len(calls) == 3 and not outward, (calls, outward)


def main():
    if sys.argv[1] == "--check":
        return check()
    calls, outward = judge(sys.argv[1])
    print(f"{len(calls)} calls that connect or send, {len(outward)} of them beyond this machine")
    print("".join(outward[:20]), end="")
    sys.exit(bool(outward) or not calls)


main()
