"""Scripts that ask the program what can stand at the cursor (host): one a shell."""

BASH = r"""# curriculum-rec in bash: eval "$(curriculum-rec completion bash)"
_curriculum_rec() {
    local line="${COMP_LINE:0:COMP_POINT}" current kept
    local -a given
    current="${line##* }"
    IFS=' ' read -ra given <<<"$line"
    [[ $line == *' ' ]] && given+=("")
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" __complete "${given[@]:1}" 2>/dev/null))
    # bash replaces only what stands behind the last of its word breaks.
    if [[ $COMP_WORDBREAKS == *=* ]]; then
        kept="${current%"${current##*[=:]}"}"
        COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    fi
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=./,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}
complete -F _curriculum_rec curriculum-rec
"""

ZSH = r"""# curriculum-rec in zsh: eval "$(curriculum-rec completion zsh)", after compinit
_curriculum_rec() {
    local -a found unfinished finished
    found=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    unfinished=(${(M)found:#*[=./,]})
    finished=(${found:#*[=./,]})
    compadd -Q -S '' -a unfinished
    compadd -Q -a finished
}
compdef _curriculum_rec curriculum-rec
"""

FISH = r"""# curriculum-rec in fish: curriculum-rec completion fish | source
function __curriculum_rec_complete
    set -l given (commandline -opc) (commandline -ct)
    $given[1] __complete $given[2..-1] 2>/dev/null
end
complete -c curriculum-rec -f -a '(__curriculum_rec_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
