package peertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The users of Dovecot in its jail.
const (
	dovecotID    = 8
	dovenullID   = 9
	dovecotBoxID = 10
)

const dovecotConfig = `base_dir = /run/dovecot
state_dir = /var/lib/dovecot
protocols = lmtp
log_path = /var/log/dovecot.log
hostname = backend.test
postmaster_address = postmaster@backend.test
listen = 127.0.0.1
first_valid_uid = 1
mail_save_crlf = yes
mail_location = maildir:~/Maildir
default_vsz_limit = 0
{tls}
userdb {
  driver = passwd-file
  args = username_format=%u /etc/mailboxes
}
passdb {
  driver = static
  args = nopassword=y
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = {port}
  }
  unix_listener lmtp {
    mode = 0666
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
protocol lmtp {
  mail_plugins = quota
}
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=100M
}
`

// Dovecot is a running Dovecot that stores what comes by LMTP.
type Dovecot struct {
	Addr   string // of its LMTP server
	Socket string // the same as a UNIX socket

	jail *jail
}

// DovecotOptions are what tests vary.
type DovecotOptions struct {
	Mailboxes map[string]int // addresses, and how many octets each may hold: 0 for many
	CertFile  string         // with KeyFile: STARTTLS is offered
	KeyFile   string
}

// StartDovecot starts a Dovecot that ends with the test. It needs root.
func StartDovecot(t testing.TB, o DovecotOptions) *Dovecot {
	t.Helper()
	const lib = "/usr/lib/dovecot/"
	programs := []string{"/usr/sbin/dovecot", "/usr/bin/doveconf"}
	for _, name := range []string{"anvil", "auth", "config", "lmtp", "log", "stats"} {
		programs = append(programs, lib+name)
	}
	j := newJail(t, "dovecot", programs...)
	// Dovecot wants the programs of all its services to be there. These are never run.
	for _, name := range []string{
		"aggregator", "dict", "director", "dns-client", "doveadm-server", "indexer", "indexer-worker", "ipc", "old-stats",
		"replicator", "script", "tcpwrap",
	} {
		j.write(lib+name, "")
		must(t, os.Chmod(j.path(lib+name), 0o755))
	}
	for _, name := range []string{"lib10_quota_plugin.so", "libssl_iostream_openssl.so"} {
		j.plugin(lib + "modules/" + name)
	}
	j.users(map[string]int{"dovecot": dovecotID, "dovenull": dovenullID, "box": dovecotBoxID})
	for _, dir := range []string{"/run/dovecot", "/var/lib/dovecot", "/var/log"} {
		j.folder(dir, 0o755, 0)
	}
	j.folder("/box", 0o755, dovecotBoxID)
	d := &Dovecot{Addr: FreeAddr(t), Socket: j.path("/run/dovecot/lmtp"), jail: j}
	tls := "ssl = no"
	if o.CertFile != "" {
		j.secret(o.CertFile, "/etc/cert.pem", 0)
		j.secret(o.KeyFile, "/etc/key.pem", 0)
		tls = "ssl = yes\nssl_cert = </etc/cert.pem\nssl_key = </etc/key.pem"
	}
	var boxes strings.Builder
	for a, octets := range o.Mailboxes {
		fmt.Fprintf(&boxes, "%s::%d:%d::/box/%s::", a, dovecotBoxID, dovecotBoxID, a)
		if octets > 0 {
			fmt.Fprintf(&boxes, "userdb_quota_rule=*:bytes=%d", octets)
		}
		boxes.WriteString("\n")
	}
	j.write("/etc/mailboxes", boxes.String())
	j.write("/etc/dovecot/dovecot.conf", fill(dovecotConfig, "port", port(d.Addr), "tls", tls))
	j.start("/usr/sbin/dovecot", "-F")
	if err := await(d.Addr); err != nil {
		t.Fatalf("%v\n%s", err, d.Log())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Dovecot's log:\n%s", tail(d.Log()))
		}
	})
	return d
}

// plugin puts a library into the jail that a program loads by its path, and those that it needs.
func (j *jail) plugin(path string) {
	j.t.Helper()
	root := Root(j.t)
	from := filepath.Join(root, path)
	if _, err := os.Stat(from); err != nil {
		from = path
	}
	if _, err := os.Stat(from); err != nil {
		Missing(j.t, "POSTERN_PEERS", "no library "+path)
	}
	j.copy(from, path)
	for _, lib := range libraries(j.t, root, from) {
		to := filepath.Join("/lib", filepath.Base(lib))
		if _, err := os.Stat(j.path(to)); err != nil && !strings.Contains(to, "ld-linux") {
			j.copy(lib, to)
		}
	}
}

// Log gives Dovecot's log so far.
func (d *Dovecot) Log() string {
	b, _ := os.ReadFile(d.jail.path("/var/log/dovecot.log"))
	return string(b)
}

// Stored gives the messages in a mailbox at the moment, as they lie there.
func (d *Dovecot) Stored(t testing.TB, mailbox string) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.jail.path("/box"), mailbox, "Maildir", "new", "*"))
	must(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		all = append(all, b)
	}
	return all
}
