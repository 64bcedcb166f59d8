# shellcheck shell=sh
# What the resource agent and the alert agent share; installed as /usr/lib/jet9/pacemaker.sh. See docs/pacemaker.md.
#
# The first half decides: from a document, and from one view of the cluster (crm_mon's XML), to what is published. It reads no clock, no
# network and no file, and is tested on captures of a real cluster (cluster/tests/captures.rs). The second half asks and acts.

# --- deciding -------------------------------------------------------------------------------------------------------------------------

# jet9_view RESOURCE NODE SINCE REASON < crm_mon.xml
# What a view says of the promotable clone RESOURCE, and of NODE, which was master. SINCE: the Unix second in which the last document was
# published; REASON: why. Prints four words:
#   quorate | blind              whether this partition may speak for the cluster at all
#   the promoted nodes, or -     by comma; those that are there
#   live | idle | away           NODE is promoted or about to be; is there and is not; is not there
#   demoted | fenced | unconfirmed    how NODE ended, as far as Pacemaker can prove it
jet9_view() {
    awk -v resource="$1" -v node="$2" -v since="$3" -v reason="$4" '
        function attr(name, value) {
            if (!match($0, " " name "=\"[^\"]*\"")) return ""
            value = substr($0, RSTART, RLENGTH)
            sub(/^[^"]*"/, "", value); sub(/"$/, "", value)
            return value
        }
        # Seconds since 1970 of "2026-11-21 21:32:37Z" or "2026-11-21 22:32:37.25 +01:00"; 0 for another form, which proves nothing.
        function seconds(text, part, zone, year, month, day, offset) {
            if (text !~ /^[0-9]+-[0-9]+-[0-9]+ [0-9]+:[0-9]+:[0-9]+(\.[0-9]+)?(Z| ?[+-][0-9]+:[0-9]+)$/) return 0
            split(text, part, /[- :.Z+]/)
            year = part[1]; month = part[2]; day = part[3]
            if (match(text, /[+-][0-9]+:[0-9]+$/) && text !~ /Z$/) {
                zone = substr(text, RSTART)
                offset = substr(zone, 2, index(zone, ":") - 2) * 3600 + substr(zone, index(zone, ":") + 1) * 60
                if (zone ~ /^-/) offset = -offset
            }
            if (month <= 2) { year--; month += 12 }
            day += int(1461 * year / 4) - int(year / 100) + int(year / 400) + int((153 * month - 457) / 5) - 719469
            return day * 86400 + part[4] * 3600 + part[5] * 60 + part[6] - offset
        }
        /<current_dc / { quorate = attr("with_quorum") == "true" }
        /<cluster_options / { stonith = attr("stonith-enabled") == "true" }
        /<nodes>/ { in_nodes = 1 }
        /<\/nodes>/ { in_nodes = 0 }
        in_nodes && /<node / { here[attr("name")] = attr("online") == "true" && attr("unclean") == "false" }
        in_nodes && /<node / && attr("name") == node {
            online = attr("online") == "true"
            sound = attr("unclean") == "false" && attr("pending") == "false" && attr("maintenance") == "false"
        }
        /<clone / && attr("id") == resource { inside = 1 }
        /<\/clone>/ { inside = 0 }
        inside && /<resource / {
            member[attr("id")] = 1
            role = attr("role")
            settled = (role == "Stopped" || role == "Unpromoted" || role == "Slave") && \
                attr("failed") == "false" && attr("blocked") == "false" && attr("managed") == "true"
        }
        inside && /<node / {
            # Of a node that is lost the CIB goes on telling what it was.
            if ((role == "Promoted" || role == "Master") && here[attr("name")])
                promoted = promoted (promoted == "" ? "" : ",") attr("name")
            if (attr("name") == node) {
                if (role == "Promoted" || role == "Master" || role == "Promoting") live = 1
                if (!settled) busy = 1
            }
        }
        /<node_history>/ { in_history = 1 }
        /<\/node_history>/ { in_history = 0 }
        in_history && /<node / { of_node = attr("name") == node }
        in_history && /<resource_history / { of_member = of_node && attr("id") in member; id = attr("id") }
        # The last thing that was done, monitoring aside, by its order. What is still under way has rc 193.
        of_member && /<operation_history / && attr("task") != "monitor" { last[id] = attr("task") ":" attr("rc") }
        /<fence_event / && attr("target") == node && attr("status") == "success" && attr("action") ~ /^(off|reboot)$/ {
            # Whole seconds, so one is given: nobody is fenced, restarted and promoted within it.
            if (seconds(attr("completed")) + 1 >= since) fenced = 1
        }
        END {
            for (id in last) { done = 1; if (last[id] !~ /^(start|demote|stop):0$/) busy = 1 }
            ended = "unconfirmed"
            if (online && sound && !busy && done) ended = "demoted"
            # It is back, and nothing of the clone was begun on it.
            else if (online && sound && !busy && fenced) ended = "fenced"
            # With STONITH, a node that is away without being unclean was fenced, or left in good order: after its side had said so.
            else if (!online && sound && stonith && fenced) ended = "fenced"
            else if (!online && sound && stonith && reason == "standby") ended = "demoted"
            print quorate ? "quorate" : "blind", promoted == "" ? "-" : promoted, !online ? "away" : live ? "live" : "idle", ended
        }'
}

# jet9_start NODE SIDE: what the resource agent does next on NODE, the node of SIDE, which Pacemaker has promoted. Reads the document's variables (jet9_document) and
# the words of a view. Prints:
#   keep                    the document is right
#   wait                    look again a little later
#   switching ENDED WHY     publish that nobody is master; ENDED may be -
#   serving ENDED WHY       publish that the side of NODE is; ENDED may be -
jet9_start() {
    case $doc_phase:$doc_master:$view_quorum:$view_promoted in
        drained:*) echo keep && return ;;
        *:*:blind:*) echo wait && return ;;
        serving:"$2":*:"$1") echo keep && return ;;
        *:*:*:"$1") ;;
        *) echo wait && return ;;
    esac
    # Nobody else was named since. Of a master before that nobody names, nothing is known: it may have been the other side.
    [ "$doc_before" != "$2" ] || { echo "serving - restart" && return; }
    ended=$doc_ended
    [ "$ended" != - ] && [ "$ended" != unconfirmed ] || ended=$view_ended
    case $ended:$doc_phase:$doc_fencing in
        demoted:*) echo "serving demoted standby" ;;
        fenced:*) echo "serving fenced fence-ok" ;;
        *:none) echo "serving unconfirmed crash" ;;
        *:serving:*) echo "switching - crash" ;;
        # The edges go on by the last state for as long as it takes: without a proof nobody else may be named.
        *:confirmed) echo wait ;;
        *) echo "serving unconfirmed crash" ;;
    esac
}

# jet9_alert NODE: what whoever hears of an event publishes, where NODE is the node of the side that the document names as master: nothing but
# that it is master no more, if so. Prints `keep` or `switching ENDED WHY`.
jet9_alert() {
    case $doc_phase:$view_quorum in
        serving:quorate) ;;
        *) echo keep && return ;;
    esac
    ended=$view_ended
    [ "$ended" != unconfirmed ] || ended=-
    case $view_node:$view_promoted in
        live:"$1" | live:-) echo keep ;;
        live:*) echo "switching - crash" ;;
        idle:*) echo "switching $ended standby" ;;
        *) echo "switching $ended crash" ;;
    esac
}

# jet9_monitor SIDE: whether the document still says what SIDE published. Prints `keep` or `lost`.
jet9_monitor() {
    case $doc_phase:$doc_master in
        drained:* | serving:"$1") echo keep ;;
        *) echo lost ;;
    esac
}

# --- asking and acting ----------------------------------------------------------------------------------------------------------------

# jet9_config FILE: reads the file that both agents go by. Fails, and says so, where it is incomplete.
jet9_config() {
    jet9=/usr/bin/jet9 etcd='' prefix=/jet9 ca='' certificate='' username='' password_file='' guard=''
    cluster='' resource='' side_a='' side_b=''
    # shellcheck disable=SC1090
    . "$1" || return
    for needed in cluster etcd resource side_a side_b; do
        eval "[ -n \"\$$needed\" ]" || { echo "$1: $needed is missing" && return 1; }
    done
    [ "$side_a" != "$side_b" ] || { echo "$1: side_a and side_b are one node" && return 1; }
}

# jet9_side NODE and jet9_node SIDE: the other half of the pair.
jet9_side() {
    case $1 in
        "$side_a") echo a ;;
        "$side_b") echo b ;;
        *) return 1 ;;
    esac
}

jet9_node() {
    case $1 in
        a) echo "$side_a" ;;
        b) echo "$side_b" ;;
        *) echo - ;;
    esac
}

# jet9_cluster VERB ARGUMENT...: asks the etcd through jet9, which knows the rules of publishing.
jet9_cluster() {
    set -- "$@" --etcd "$etcd" --prefix "$prefix"
    [ -z "$ca" ] || set -- "$@" --ca "$ca"
    [ -z "$certificate" ] || set -- "$@" --certificate "$certificate"
    [ -z "$username" ] || set -- "$@" --username "$username" --password-file "$password_file"
    "$jet9" cluster "$@"
}

# jet9_document: reads the document into doc_epoch, doc_phase, doc_master, doc_before (the last master), doc_ended (how it ended), doc_fencing,
# doc_since (Unix seconds), doc_reason. Unknown is "-". Fails as jet9 does: 3 where there is none, 5 and 1 where nobody answers.
jet9_document() {
    told=$(jet9_cluster get "$cluster" -o json) || return
    told=$(printf %s "$told" | jq -r '.document |
        [.epoch, .phase, .master, .master // .prev.master, (if .master then null else .prev.ended end),
         .fencing, ((.since_unix_ms // 0) / 1000 | floor), .reason] | map(. // "-" | tostring) | join(" ")') || return 1
    # shellcheck disable=SC2034
    read -r doc_epoch doc_phase doc_master doc_before doc_ended doc_fencing doc_since doc_reason <<EOF
$told
EOF
    [ "$doc_epoch" -gt 0 ] 2>/dev/null
}

# jet9_look NODE: one view of the cluster, as words, with NODE as the old master. The controller is asked for the quorum too, and last: crm_mon
# tells what the CIB had, which the partition that lost the quorum goes on showing for a moment.
jet9_look() {
    told=$(crm_mon -1 --output-as=xml | jet9_view "$resource" "$1" "$doc_since" "$doc_reason") || return
    # shellcheck disable=SC2034
    read -r view_quorum view_promoted view_node view_ended <<EOF
$told
EOF
    [ "$(crm_node -q)" = 1 ] || view_quorum=blind
}

# jet9_publish PHASE MASTER ENDED WHY: publishes on the epoch that was read. MASTER and ENDED may be "-". Waits for the leases where that is owed.
# Exits as jet9 does: 0 done, 4 somebody else was faster, 5 perhaps, 2 the fencing class forbids it.
jet9_publish() {
    set -- "$2" "$3" --cluster "$cluster" --expect-epoch "$doc_epoch" --phase "$1" --reason "$4"
    [ "$1" = - ] || set -- "$@" --master "$1"
    [ "$2" = - ] || set -- "$@" --ended "$2"
    shift 2
    jet9_cluster publish "$@" >/dev/null
}

# jet9_guard EPOCH: gives the guard of this side its number (docs/in-band-guard.md); 0: it refuses everything.
jet9_guard() {
    [ -z "$guard" ] || $guard "$1"
}
