"""Programs for interpreters that have none of our modules: they carry the texts of those that they need."""

from __future__ import annotations

from importlib.resources import files


def program_of(modules: dict[str, str], last: str) -> str:
    """Return a program that makes modules, and ends with a line that uses them.

    `modules`: which module of ours each variable is; the program has `taskman_cli.jobs` too, as `jobs`, where
    `import taskman_cli` finds it.
    """
    made = "".join(
        f"{variable}=module({'taskman_' + variable!r},{_text_of(name)!r})\n"
        for variable, name in modules.items()
    )
    return (
        "import sys,types\n"
        "def module(name,text):\n"
        " made=types.ModuleType(name)\n"
        " made.__file__='<taskman>'\n"
        " exec(compile(text,'<taskman>','exec'),made.__dict__)\n"
        " return made\n"
        f"jobs=module('taskman_cli.jobs',{_text_of('taskman_cli.jobs')!r})\n"
        "try:\n"
        " import taskman_cli\n"
        "except ImportError:\n"
        " sys.modules['taskman_cli']=types.ModuleType('taskman_cli')\n"
        " sys.modules['taskman_cli'].__path__=[]\n"
        "sys.modules['taskman_cli'].jobs=sys.modules['taskman_cli.jobs']=jobs\n"
        f"{made}{last}\n"
    )


def _text_of(name: str) -> str:
    package, _, stem = name.rpartition(".")
    return files(package).joinpath(f"{stem}.py").read_text("utf-8")
