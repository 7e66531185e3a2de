# What a row's shell may use in any lab.
# keep FILE...: as it is now, to be put back by `back FILE...`.
kept_as() { echo "$KEPT/$(echo "$1" | tr / _)"; }
keep() { mkdir -p "$KEPT"; for file; do cp -a "$file" "$(kept_as "$file")"; done; }
back() { for file; do rm -rf "$file"; mv "$(kept_as "$file")" "$file"; done; }
edit() { # FILE SED: it must change something
  keep "$1"
  sed "$2" "$(kept_as "$1")" > "$1"
  if cmp -s "$1" "$(kept_as "$1")"; then echo "nothing changed in $1: $2"; exit 1; fi
}
paper() { # NAME: this host's etcd certificate is that one from now on
  keep "$CERT" "$KEY"
  cat "$KEPT/$1.pem" > "$CERT"
  cat "$KEPT/$1-key.pem" > "$KEY"
}
no_paper() { back "$CERT" "$KEY"; }
wait_for() { # SECONDS COMMAND...
  left=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    if [ "$left" -le 0 ]; then echo "waited in vain for: $*"; exit 1; fi
    sleep 0.2
  done
}
