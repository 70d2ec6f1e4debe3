package peertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	lib := File(t, "usr/lib/rspamd")
	socket := filepath.Join(dir, "s")
	return StartDaemon(t, socket, func() *exec.Cmd {
		_ = os.Remove(socket)
		cmd := Command(t, "rspamd", "-f", "-i", "-c", filepath.Join(dir, "conf"),
			"--var=CONFDIR="+dir, "--var=LOCAL_CONFDIR="+dir, "--var=SHAREDIR="+share, "--var=RULESDIR="+filepath.Join(share, "rules"),
			"--var=LUALIBDIR="+filepath.Join(share, "lualib"), "--var=PLUGINSDIR="+filepath.Join(share, "plugins"),
			"--var=DBDIR="+dir, "--var=RUNDIR="+dir, "--var=LOGDIR="+dir)
		for i, v := range cmd.Env {
			if rest, ok := strings.CutPrefix(v, "LD_LIBRARY_PATH="); ok {
				cmd.Env[i] = "LD_LIBRARY_PATH=" + lib + ":" + rest
			}
		}
		return cmd
	})
}
