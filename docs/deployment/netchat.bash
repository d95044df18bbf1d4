# Completion of twistd with netchat, netecho and netidle, for bash 4 or newer. Made by
# python -m twisted_net.services.completion

_twistd_netchat() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local service="" word flags
    # "--flag=value" is three words.
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $previous == "=" ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        case $word in
            netchat | netecho | netidle) service=$word ;;
        esac
    done
    COMPREPLY=()
    case $service$previous in
        netchat--store | netchat--history | netchat--heartbeat | netchat--auth | netchat--operator | netchat--reserve | netchat--login-timeout | netchat--help-auth-type | netchat--joins | netchat--nicks | netchat--topics | netchat--new-rooms | netchat--web | netchat--origin | netchat--trusted-proxy | netchat--port | netchat--interface | netchat--listen | netchat--proxy-protocol | netchat--tls-port | netchat--key-passphrase-env | netchat--max-connections | netchat--max-per-address | netchat--accept-rate | netchat--allow | netchat--deny | netchat--max-message | netchat--rate | netchat--burst | netchat--queue-limit | netchat--memory-budget | netchat--idle-timeout | netchat--message-timeout | netchat--handshake-timeout | netchat--keepalive | netchat--keepalive-interval | netchat--keepalive-count | netchat--user-timeout | netchat--admin | netchat--admin-host | netchat--drain)
            :
            return ;;
        netchat--cert | netchat--key | netchat--key-passphrase-file | netchat--client-ca | netchat--ticket-key | netchat--keylog | netchat--admin-token-file | netchat--config)
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return ;;
        netchat--tls-dir)
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return ;;
        netchat--min-tls)
            COMPREPLY=($(compgen -W "1.2 1.3" -- "$current"))
            return ;;
        netchat--slow)
            COMPREPLY=($(compgen -W "close drop-oldest drop-newest" -- "$current"))
            return ;;
        netchat--log-ends)
            COMPREPLY=($(compgen -W "all notable" -- "$current"))
            return ;;
        netchat--log-level)
            COMPREPLY=($(compgen -W "debug info warn error critical" -- "$current"))
            return ;;
        netchat--log-format)
            COMPREPLY=($(compgen -W "text json" -- "$current"))
            return ;;
        netecho--port | netecho--interface | netecho--listen | netecho--proxy-protocol | netecho--tls-port | netecho--key-passphrase-env | netecho--max-connections | netecho--max-per-address | netecho--accept-rate | netecho--allow | netecho--deny | netecho--max-message | netecho--rate | netecho--burst | netecho--queue-limit | netecho--memory-budget | netecho--idle-timeout | netecho--message-timeout | netecho--handshake-timeout | netecho--keepalive | netecho--keepalive-interval | netecho--keepalive-count | netecho--user-timeout | netecho--admin | netecho--admin-host | netecho--drain)
            :
            return ;;
        netecho--cert | netecho--key | netecho--key-passphrase-file | netecho--client-ca | netecho--ticket-key | netecho--keylog | netecho--admin-token-file | netecho--config)
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return ;;
        netecho--tls-dir)
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return ;;
        netecho--min-tls)
            COMPREPLY=($(compgen -W "1.2 1.3" -- "$current"))
            return ;;
        netecho--slow)
            COMPREPLY=($(compgen -W "close drop-oldest drop-newest" -- "$current"))
            return ;;
        netecho--log-ends)
            COMPREPLY=($(compgen -W "all notable" -- "$current"))
            return ;;
        netecho--log-level)
            COMPREPLY=($(compgen -W "debug info warn error critical" -- "$current"))
            return ;;
        netecho--log-format)
            COMPREPLY=($(compgen -W "text json" -- "$current"))
            return ;;
        netidle--upstream | netidle--port | netidle--interface | netidle--listen | netidle--proxy-protocol | netidle--tls-port | netidle--key-passphrase-env | netidle--max-connections | netidle--max-per-address | netidle--accept-rate | netidle--allow | netidle--deny | netidle--max-message | netidle--rate | netidle--burst | netidle--queue-limit | netidle--memory-budget | netidle--idle-timeout | netidle--message-timeout | netidle--handshake-timeout | netidle--keepalive | netidle--keepalive-interval | netidle--keepalive-count | netidle--user-timeout | netidle--admin | netidle--admin-host | netidle--drain)
            :
            return ;;
        netidle--cert | netidle--key | netidle--key-passphrase-file | netidle--client-ca | netidle--ticket-key | netidle--keylog | netidle--admin-token-file | netidle--config)
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return ;;
        netidle--tls-dir)
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return ;;
        netidle--min-tls)
            COMPREPLY=($(compgen -W "1.2 1.3" -- "$current"))
            return ;;
        netidle--slow)
            COMPREPLY=($(compgen -W "close drop-oldest drop-newest" -- "$current"))
            return ;;
        netidle--log-ends)
            COMPREPLY=($(compgen -W "all notable" -- "$current"))
            return ;;
        netidle--log-level)
            COMPREPLY=($(compgen -W "debug info warn error critical" -- "$current"))
            return ;;
        netidle--log-format)
            COMPREPLY=($(compgen -W "text json" -- "$current"))
            return ;;
        --logfile | --profile | --file | --python | --source | --pidfile)
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return ;;
        --logger | --profiler | --prefix | --uid | --gid | --umask | --reactor)
            :
            return ;;
        --rundir | --chroot)
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return ;;
    esac
    case $service in
        netchat) flags="--store --history --heartbeat --auth --operator --reserve --login-timeout --allow-anonymous --allow-plain-login --help-auth --help-auth-type --joins --nicks --topics --new-rooms --no-web --web --origin --trusted-proxy --port --interface --ipv6-only --reuse-port --listen --proxy-protocol --tls-port --cert --key --key-passphrase-file --key-passphrase-env --tls-dir --self-signed --allow-expired --client-ca --optional-client-certificate --min-tls --ticket-key --keylog --max-connections --max-per-address --accept-rate --allow --deny --max-message --rate --burst --queue-limit --slow --memory-budget --idle-timeout --message-timeout --handshake-timeout --keepalive --keepalive-interval --keepalive-count --user-timeout --admin --admin-token-file --admin-host --log-ends --log-level --log-format --drain --config --version --help" ;;
        netecho) flags="--port --interface --ipv6-only --reuse-port --listen --proxy-protocol --tls-port --cert --key --key-passphrase-file --key-passphrase-env --tls-dir --self-signed --allow-expired --client-ca --optional-client-certificate --min-tls --ticket-key --keylog --max-connections --max-per-address --accept-rate --allow --deny --max-message --rate --burst --queue-limit --slow --memory-budget --idle-timeout --message-timeout --handshake-timeout --keepalive --keepalive-interval --keepalive-count --user-timeout --admin --admin-token-file --admin-host --log-ends --log-level --log-format --drain --config --version --help" ;;
        netidle) flags="--upstream --port --interface --ipv6-only --reuse-port --listen --proxy-protocol --tls-port --cert --key --key-passphrase-file --key-passphrase-env --tls-dir --self-signed --allow-expired --client-ca --optional-client-certificate --min-tls --ticket-key --keylog --max-connections --max-per-address --accept-rate --allow --deny --max-message --rate --burst --queue-limit --slow --memory-budget --idle-timeout --message-timeout --handshake-timeout --keepalive --keepalive-interval --keepalive-count --user-timeout --admin --admin-token-file --admin-host --log-ends --log-level --log-format --drain --config --version --help" ;;
        *) flags="netchat netecho netidle --chroot --debug --encrypted --euid --file --gid --help --help-reactors --logfile --logger --no_save --nodaemon --originalname --pidfile --prefix --profile --profiler --python --reactor --rundir --savestats --source --spew --syslog --uid --umask --version" ;;
    esac
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
}
complete -o bashdefault -o default -F _twistd_netchat twistd
