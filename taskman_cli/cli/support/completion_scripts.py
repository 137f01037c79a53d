"""The scripts that let a shell ask taskman what may follow on the command line.

Each asks with `_TASKMAN_COMPLETE`, the name of the shell, and reads lines: first what follows (`plain`,
`file` or `dir`), then what is offered, for zsh and fish each with a tab and a description. Files are left to
the shell, which knows their names better.
"""

from __future__ import annotations

#: bash splits words at colons too, so it gives the line instead of its words. It shows no descriptions of its
#: own: they are a part of what it lists, if it only lists.
BASH = r"""
_taskman_completion() {
    local -a lines
    COMPREPLY=()
    mapfile -t lines < <(
        _TASKMAN_COMPLETE=bash _TASKMAN_LINE="${COMP_LINE:0:COMP_POINT}" _TASKMAN_TYPE="$COMP_TYPE" \
            _TASKMAN_BREAKS="$COMP_WORDBREAKS" COLUMNS="${COLUMNS:-80}" "${1/#\~\//"$HOME/"}" 2>/dev/null
    )
    case ${lines[0]-} in
        file) compopt -o default ;;
        dir) compopt -o dirnames ;;
        *) COMPREPLY=("${lines[@]:1}") ;;
    esac
}
complete -o nosort -F _taskman_completion taskman
"""

ZSH = r"""#compdef taskman
_taskman() {
    local -a lines values shown
    local line
    lines=("${(@f)$(
        _TASKMAN_COMPLETE=zsh command taskman "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null
    )}")
    [[ $PREFIX == --*=* ]] && compset -P '*='
    case $lines[1] in
        (file) _files ;;
        (dir) _files -/ ;;
        (plain)
            for line in "${(@)lines[2,-1]}"; do
                values+=("${line%%$'\t'*}")
                shown+=("${line#*$'\t'}")
            done
            (( $#values )) && compadd -V taskman -l -d shown -- "${(@)values}"
            ;;
    esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _taskman "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _taskman taskman
fi
"""

FISH = r"""function __taskman_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    set -l lines (env _TASKMAN_COMPLETE=fish taskman $words "$current" 2>/dev/null)
    set -l option (string match -r -- '^--[^=]+=' "$current")
    set -l typed (string replace -r -- '^--[^=]+=' '' "$current")
    switch "$lines[1]"
        case file
            printf "$option%s\n" (__fish_complete_path "$typed")
        case dir
            printf "$option%s\n" (__fish_complete_directories "$typed")
        case plain
            printf '%s\n' $lines[2..]
    end
end
complete --no-files --command taskman --arguments '(__taskman_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
