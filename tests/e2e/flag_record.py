"""Which flags of which commands a test has used, beside all that the commands' own --help names.

Flags are recorded where a command is really run, so a case cannot be forgotten in a list: `unused()` names what --help shows and no
run has had."""
import os
import re
import subprocess

TENON = os.environ["TENON"]
PLUGINS = ["--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]


def help_of(*words):
    return subprocess.run([TENON, *words, "--help"], capture_output=True, text=True, check=True).stdout


def names_in(listing):
    return re.findall(r"^  ([a-z][a-z-]*) +\S", listing, re.MULTILINE)


def all_commands():
    """("serve",), ("service", "create"), ...: families give way to what is in them."""
    for name in names_in(help_of()):
        text = help_of(name)
        if text.startswith(f"usage: tenon {name} COMMAND"):
            yield from ((name, member) for member in names_in(text))
        else:
            yield (name,)


def flags_in(text):
    """{"--set": "SECTION.KEY=VALUE", "--json": "", "-f": ""} of a command's --help."""
    return {flag: value for flag, value in re.findall(r"^  (--?[a-z][a-z-]*) ?([A-Z\w.=:/]*)", text[text.index("\nflags:"):], re.MULTILINE)}


class Record:
    def __init__(self):
        self.commands = {words: flags_in(help_of(*words)) for words in all_commands()}
        self.used = {words: {"--help"} for words in self.commands}
        self.started = []

    def note(self, arguments):
        command = tuple(arguments[:2]) if tuple(arguments[:2]) in self.commands else tuple(arguments[:1])
        flags = self.commands[command]
        rest = list(arguments[len(command):])
        while rest:
            word = rest.pop(0)
            if word in flags:
                self.used[command].add(word)
                if flags[word]:
                    rest.pop(0)

    def run(self, *arguments, code=0, stdin="", plugins=False, env=None):
        """Standard output; standard error where the exit code is to be another than 0. plugins: those of the build."""
        self.note(arguments)
        words = [TENON, *arguments, *(PLUGINS if plugins else [])]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=120, env=env)
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-1500:]}"
        return done.stdout if code == 0 else done.stderr

    def start(self, *arguments, **how):
        """A program that goes on; finish() ends what is left of those."""
        self.note(arguments)
        self.started.append(subprocess.Popen([TENON, *arguments, *PLUGINS], **how))
        return self.started[-1]

    def finish(self):
        for process in self.started:
            process.kill()
            process.wait()

    def unused(self):
        return [f"tenon {' '.join(words)} {flag}" for words, flags in self.commands.items() for flag in flags if flag not in self.used[words]]
