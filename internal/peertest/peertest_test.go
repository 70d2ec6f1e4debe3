package peertest

import (
	"net/smtp"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestServersStoreMail(t *testing.T) {
	for name, start := range map[string]func(testing.TB, MTAOptions) *MTA{
		"Postfix": StartPostfix, "Exim": StartExim, "OpenSMTPD": StartOpenSMTPD,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := start(t, MTAOptions{})
			if err := smtp.SendMail(m.Addr, nil, "a@client.test", []string{"u@example.org"}, []byte("Subject: x\r\n\r\nhello\r\n..dot\r\n")); err != nil {
				t.Fatal(err)
			}
			if got := string(m.Messages(t, 1)[0]); !strings.HasSuffix(got, "\r\n\r\nhello\r\n..dot\r\n") {
				t.Errorf("stored %q", got)
			}
			if err := smtp.SendMail(m.Addr, nil, "a@client.test", []string{"u@elsewhere.test"}, []byte("\r\n")); err == nil {
				t.Error("mail for a foreign domain was taken")
			}
		})
	}
}

// TestPartlyUnpacked: who has unpacked some of the peers only, or none, is told what is missing, and nothing fails.
func TestPartlyUnpacked(t *testing.T) {
	for _, folder := range []string{"root", "elsewhere"} {
		t.Run(folder, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("POSTERN_PEERS_DIR", dir)
			t.Setenv("POSTERN_PEERS", "")
			t.Setenv("CI", "")
			starts := map[string]func(testing.TB){
				"Postfix":   func(t testing.TB) { StartPostfix(t, MTAOptions{}) },
				"Exim":      func(t testing.TB) { StartExim(t, MTAOptions{}) },
				"OpenSMTPD": func(t testing.TB) { StartOpenSMTPD(t, MTAOptions{}) },
				"jars":      func(t testing.TB) { javaArchive(t, "no-such.jar") },
				"a program": func(t testing.TB) { Command(t, "no-such-program") },
				"a module":  func(t testing.TB) { File(t, "usr/lib/no-such-module") },
			}
			// A machine's own mail servers stand in for unpacked ones, which then are not missing.
			for name, path := range map[string]string{"Exim": "/usr/sbin/exim4", "OpenSMTPD": "/usr/sbin/smtpd"} {
				if executable(path) {
					delete(starts, name)
				}
			}
			for name, start := range starts {
				skipped := false
				t.Run(name, func(t *testing.T) {
					defer func() { skipped = t.Skipped() }()
					start(t)
				})
				if !skipped {
					t.Errorf("%s: is not skipped", name)
				}
			}
		})
	}
}

// TestFreeAddrIsOnes: an address that a test has been given is given to no other before that ends, whether anything listens there or not.
func TestFreeAddrIsOnes(t *testing.T) {
	addr := ""
	t.Run("first", func(t *testing.T) {
		addr = FreeAddr(t)
		if other, err := claim(addr); err == nil {
			_ = other.Close()
			if runtime.GOOS == "linux" {
				t.Error("another one may have it")
			}
		}
	})
	again, err := claim(addr)
	if err != nil {
		t.Fatalf("it is not given back: %v", err)
	}
	_ = again.Close()
}
