package peertest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const opendkimConfig = `Background no
AutoRestart no
Syslog no
LogWhy yes
Mode {mode}
Socket local:{dir}/s
Canonicalization relaxed/simple
AuthservID mx.example.org
Domain example.org
Selector s
KeyFile {dir}/key.pem
UserID {user}
RequireSafeKeys no
DNSConnect no
QueryCache no
TestPublicKeys {dir}/keys
{more}
`

// StartOpenDKIM starts an opendkim that signs for example.org ("s"), verifies ("v") or both, until the test ends. It asks no
// DNS: the key that it signs with is the only one that it knows.
func StartOpenDKIM(t testing.TB, mode, more string) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "odkim") // the path of a socket must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(t, err)
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	write(t, filepath.Join(dir, "keys"), "s._domainkey.example.org v=DKIM1; k=rsa; p="+base64.StdEncoding.EncodeToString(public)+"\n")
	write(t, filepath.Join(dir, "conf"), fill(opendkimConfig, "dir", dir, "mode", mode, "user", "root", "more", more))
	socket := filepath.Join(dir, "s")
	return StartDaemon(t, socket, func() *exec.Cmd {
		_ = os.Remove(socket)
		return Command(t, "opendkim", "-f", "-x", filepath.Join(dir, "conf"))
	})
}

// StartSpamassMilter starts a spamass-milter, and the spamd that it asks, with these rules alone, until the test ends. It
// refuses what has score points or more; more are arguments for spamc. It needs root, since the milter looks for spamc in one
// place.
func StartSpamassMilter(t testing.TB, rules, score string, more ...string) (milter, spamd *Daemon) {
	t.Helper()
	j := newJail(t, "samilt", "/usr/sbin/spamass-milter", "/usr/bin/spamc")
	j.users(nil)
	for _, d := range []string{"/sa/rules", "/sa/site", "/sa/home"} {
		j.folder(d, 0o755, 0) // spamd reads its rules as nobody
	}
	dir := j.path("/sa")
	write(t, filepath.Join(dir, "rules", "test.cf"), rules)
	write(t, filepath.Join(dir, "site", "test.pre"), "loadplugin Mail::SpamAssassin::Plugin::Check\n")
	write(t, filepath.Join(dir, "site", "local.cf"), "use_bayes 0\nskip_rbl_checks 1\ndns_available no\n")
	addr := FreeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	must(t, err)
	spamd = StartDaemon(t, addr, func() *exec.Cmd {
		cmd := Command(t, "perl", "-T")
		for _, v := range cmd.Env { // with -T perl looks into no variable
			if path, ok := strings.CutPrefix(v, "PERL5LIB="); ok {
				for p := range strings.SplitSeq(path, ":") {
					cmd.Args = append(cmd.Args, "-I"+p)
				}
			}
		}
		cmd.Args = append(cmd.Args, File(t, "usr/sbin/spamd"), "-L", "-x", "-m", "2", "-i", host, "-p", port,
			"-C", filepath.Join(dir, "rules"), "--siteconfigpath="+filepath.Join(dir, "site"), "-H", filepath.Join(dir, "home"), "-s", "stderr")
		return cmd
	})
	milter = StartDaemon(t, j.path("/run/s"), func() *exec.Cmd {
		_ = os.Remove(j.path("/run/s"))
		return j.command("/usr/sbin/spamass-milter", append([]string{"-p", "/run/s", "-r", score, "--", "-d", host, "-p", port}, more...)...)
	})
	return milter, spamd
}
