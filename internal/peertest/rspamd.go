package peertest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// It asks nobody on the net: its resolver is a port on which nobody listens, and of its modules only multimap has something
// to do.
const rspamdConfig = `lua = "${RULESDIR}/rspamd.lua"
options {
  pidfile = "{dir}/pid"; tempdir = "{dir}"; url_tld = "{dir}/tld"; hs_cache_dir = "{dir}/"; disable_hyperscan = true;
  filters = "regexp"; control_socket = "{dir}/ctl mode=0600";
  dns { nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "notice"; }
worker "normal" { bind_socket = "{dir}/s mode=0666"; count = 1; mime = true; {worker} }
modules { path = "${PLUGINSDIR}/milter_headers.lua"; }
actions { reject = 15; add_header = 6; greylist = 4; rewrite_subject = 10; subject = "[SPAM] %s"; }
{more}
`

// StartRspamd starts an rspamd that ends with the test. worker has further lines of its worker's section, more of its
// configuration.
func StartRspamd(t testing.TB, worker, more string) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "rspamd") // the path of a socket must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	write(t, filepath.Join(dir, "tld"), "com\nnet\norg\nexample\ntest\n")
	write(t, filepath.Join(dir, "conf"), fill(rspamdConfig, "dir", dir, "worker", worker, "more", more))
	share := File(t, "usr/share/rspamd")
	socket := filepath.Join(dir, "s")
	return StartDaemon(t, socket, func() *exec.Cmd {
		_ = os.Remove(socket)
		return Command(t, "rspamd", "-f", "-i", "-c", filepath.Join(dir, "conf"),
			"--var=CONFDIR="+dir, "--var=LOCAL_CONFDIR="+dir, "--var=SHAREDIR="+share, "--var=RULESDIR="+filepath.Join(share, "rules"),
			"--var=LUALIBDIR="+filepath.Join(share, "lualib"), "--var=PLUGINSDIR="+filepath.Join(share, "plugins"),
			"--var=DBDIR="+dir, "--var=RUNDIR="+dir, "--var=LOGDIR="+dir)
	})
}

// As Debian sets it up, but for what asks the net: no resolver, and modules off that would wait for one. Its learner keeps what
// it has learned in a Redis of its own, and learns what it is told to.
const (
	rspamdWholeConfig = `.include "$CONFDIR/common.conf"
options {
  .include "$CONFDIR/options.inc"
  pidfile = "{dir}/pid"; tempdir = "{dir}"; control_socket = "{dir}/ctl mode=0600"; hs_cache_dir = "{dir}/"; disable_hyperscan = true;
  filters = "chartable,regexp";
  dns { nameserver = ["127.0.0.1:9"]; timeout = 0.05s; retransmits = 1; }
}
logging { type = "console"; level = "error"; }
worker "normal" { bind_socket = "{dir}/s mode=0666"; count = 1; mime = true; }
worker "controller" { bind_socket = "{dir}/c mode=0666"; count = 1; password = "q1"; secure_ip = ["127.0.0.1", "::1"]; }
`
	rspamdClassifier = `backend = "redis"; servers = "{redis}"; new_schema = true; min_learns = 20; autolearn = false; expire = 8640000;`
	redisConfig      = `bind 127.0.0.1
port {port}
dir {dir}
save ""
appendonly no
`
)

// askNet are modules that would ask the net.
var askNet = []string{
	"rbl", "surbl", "fuzzy_check", "asn", "spf", "dkim", "dkim_signing", "dmarc", "arc", "mx_check", "bimi",
	"rspamd_update", "url_redirector", "whitelist", "hfilter", "dcc", "external_services", "antivirus",
}

// StartLearningRspamd starts an rspamd with its rules and its learner, which knows nothing, and gives the sockets on which it
// scans and learns.
func StartLearningRspamd(t testing.TB) (scan, learn string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "rspamd") // the path of a socket must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.MkdirAll(filepath.Join(dir, "local.d"), 0o755))
	write(t, filepath.Join(dir, "conf"), fill(rspamdWholeConfig, "dir", dir))
	redis := FreeAddr(t)
	_, port, err := net.SplitHostPort(redis)
	must(t, err)
	write(t, filepath.Join(dir, "redis"), fill(redisConfig, "dir", dir, "port", port))
	write(t, filepath.Join(dir, "local.d", "classifier-bayes.conf"), fill(rspamdClassifier, "redis", redis))
	for _, m := range askNet {
		write(t, filepath.Join(dir, "local.d", m+".conf"), "enabled = false;\n")
	}
	StartDaemon(t, redis, func() *exec.Cmd { return Command(t, "redis-server", filepath.Join(dir, "redis")) })
	share, etc := File(t, "usr/share/rspamd"), File(t, "etc/rspamd")
	StartDaemon(t, filepath.Join(dir, "c"), func() *exec.Cmd {
		return Command(t, "rspamd", "-f", "-i", "-c", filepath.Join(dir, "conf"),
			"--var=CONFDIR="+etc, "--var=LOCAL_CONFDIR="+dir, "--var=SHAREDIR="+share, "--var=RULESDIR="+filepath.Join(share, "rules"),
			"--var=LUALIBDIR="+filepath.Join(share, "lualib"), "--var=PLUGINSDIR="+filepath.Join(share, "plugins"),
			"--var=DBDIR="+dir, "--var=RUNDIR="+dir, "--var=LOGDIR="+dir, "--var=WWWDIR="+dir)
	})
	return filepath.Join(dir, "s"), filepath.Join(dir, "c")
}
