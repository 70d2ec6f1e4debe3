// Package law holds the project's own rules as tests: which package may import which, and what the
// documentation must name. It has no code of its own.
package law

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/postern-mail/postern"

// floors gives each package its floor, by the longest prefix that fits. An import never points up, and
// filters do not import one another.
var floors = map[string]int{
	"mail":                0,
	"mail/charset":        0,
	"mail/dsn":            0,
	"internal/store":      0,
	"internal/archive":    0,
	"internal/certs":      0,
	"internal/detection":  1,
	"internal/dns":        0,
	"internal/dkim":       0,
	"internal/directory":  3,
	"internal/ledger":     1,
	"internal/limits":     0,
	"internal/lines":      0,
	"internal/mailbox":    0,
	"internal/senders":    0,
	"internal/users":      0,
	"internal/proxy":      0,
	"internal/quarantine": 0,
	"internal/spool":      0,
	"internal/systemd":    0,
	"internal/rates":      1,
	"filter":              1,
	"filter/auth":         1,
	"filter/authres":      1,
	"internal/learner":    1,
	"internal/scanner":    1,
	"rules":               1, // pattern, text, eval and the engine: for filters, none itself
	"filter/access":       2,
	"filter/arc":          2,
	"filter/attachments":  2,
	"filter/bayes":        2,
	"filter/clamd":        2,
	"filter/dkim":         2,
	"filter/dmarc":        2,
	"filter/dnsbl":        2,
	"filter/external":     2,
	"filter/greylist":     2,
	"filter/heuristics":   2,
	"filter/http":         2,
	"filter/iprev":        2,
	"filter/milter":       2,
	"filter/pregreet":     2,
	"filter/ratelimit":    2,
	"filter/rspamd":       2,
	"filter/rules":        2,
	"filter/spf":          2,
	"pipeline":            3,
	"upstream":            3,
	"upstream/queue":      3,
	"internal/config":     4,
	"internal/control":    4,
	"internal/doctor":     4,
	"internal/edge":       4,
	"internal/metrics":    4,
	"internal/signing":    4,
	"internal/app":        5,
	"cmd":                 6,
	"docs/examples":       6, // for those who write filters of their own
	"":                    6, // the root package
	"internal/accept":     9,
	"internal/law":        9,
	"internal/peertest":   9, // for tests
	"mail/mailtest":       9, // for tests
}

// only names what may import a library that has to stay in one room.
var only = map[string][]string{
	"github.com/emersion/go-smtp":                    {"internal/edge", "upstream"},
	"github.com/prometheus/client_golang/prometheus": {"internal/metrics"},
	"github.com/goccy/go-yaml":                       {"internal/config"},
	"github.com/emersion/go-msgauth":                 {}, // an oracle of tests
	"github.com/miekg/dns":                           {"internal/dns"},
	"github.com/alecthomas/kong":                     {"cmd", ""},
	"github.com/bodgit/sevenzip":                     {"internal/archive/sevenzip"},
	"github.com/nwaples/rardecode":                   {"internal/archive/rar"},
	"github.com/klauspost/compress":                  {"internal/archive/codec", "internal/archive/sevenzip"},
	"github.com/pierrec/lz4":                         {"internal/archive/codec"},
	"github.com/ulikunitz/xz":                        {"internal/archive/codec"},
	"golang.org/x/net/html":                          {"internal/archive/markup"},
	"golang.org/x/crypto/argon2":                     {"internal/users"},
	"modernc.org/sqlite":                             {"internal/ledger"},
	"github.com/go-ldap/ldap":                        {"internal/directory"},
	"github.com/go-asn1-ber/asn1-ber":                {"internal/directory"},
}

// never lists imports that a floor alone would allow, for a room and what lies within it. All of
// filter/* but auth and authres is a filter: who decides, acts or relays knows none of them by name.
var never = map[string][]string{
	"pipeline":         append(filters(), "upstream"),
	"upstream":         {"filter", "pipeline"},
	"internal/config":  {"internal/edge", "internal/metrics", "internal/quarantine"},
	"internal/control": append(filters(), "pipeline", "upstream", "internal/config", "internal/edge", "internal/metrics"),
	"internal/edge":    append(filters(), "internal/app", "internal/config", "internal/metrics", "internal/dkim", "internal/signing"),
	"internal/signing": append(filters(), "pipeline", "upstream", "internal/config", "internal/edge"),
	"internal/store":   {"internal/quarantine"},
	// Readers of containers know nothing of mail, and nobody's disk or network.
	"internal/archive": {"mail", "internal/dns", "internal/quarantine", "internal/store"},
	"mail":             {"internal/archive"},
}

// filters lists the rooms of the filters.
func filters() (all []string) {
	for r, f := range floors {
		if f == 2 {
			all = append(all, r)
		}
	}
	return all
}

type goPackage struct {
	ImportPath, Dir string
	Imports         []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// room gives the path of a package within the module.
func room(importPath string) (string, bool) {
	rest, ok := strings.CutPrefix(importPath, module)
	return strings.TrimPrefix(rest, "/"), ok && (rest == "" || rest[0] == '/')
}

func within(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

func floor(path string) (int, bool) {
	best, found, length := 0, false, -1
	for r, f := range floors {
		if (path == r || r != "" && within(path, r)) && len(r) > length {
			best, found, length = f, true, len(r)
		}
	}
	return best, found
}

// offence says which law an import breaks, "" if none; both are rooms.
func offence(here, there string) string {
	f, ok := floor(here)
	if !ok {
		return fmt.Sprintf("%s has no floor: give it one in this test", here)
	}
	g, ok := floor(there)
	switch {
	case !ok || g > f:
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d)", here, f, there, g)
	case f == 2 && g == 2 && !within(there, here) && !within(here, there):
		return fmt.Sprintf("filter %s imports filter %s", here, there)
	}
	for r, banned := range never {
		for _, b := range banned {
			if within(here, r) && within(there, b) {
				return fmt.Sprintf("%s imports %s", here, there)
			}
		}
	}
	return ""
}

func TestImportsNeverPointUp(t *testing.T) {
	for _, p := range packages(t) {
		here, _ := room(p.ImportPath)
		for _, imp := range append(p.Imports, p.ImportPath) {
			if there, ours := room(imp); ours {
				if o := offence(here, there); o != "" {
					t.Error(o)
				}
			}
		}
	}
}

// TestOffences: the laws forbid what they are there for, and no more.
func TestOffences(t *testing.T) {
	for _, c := range []struct {
		here, there string
		allowed     bool
	}{
		{"pipeline", "filter", true},
		{"pipeline", "filter/auth", true},
		{"pipeline", "filter/authres", true},
		{"pipeline", "filter/spf", false},
		{"filter/authres", "pipeline", false},
		{"pipeline", "upstream", false},
		{"upstream", "mail", true},
		{"upstream", "filter", false},
		{"upstream", "filter/auth", false},
		{"upstream", "filter/dkim", false},
		{"filter/dkim", "filter/auth", true},
		{"filter/dkim", "filter/spf", false},
		{"filter/dkim", "pipeline", false},
		{"internal/edge", "pipeline", true},
		{"internal/edge", "filter/auth", true},
		{"internal/edge", "filter/attachments", false},
		{"internal/edge", "internal/config", false},
		{"internal/edge", "internal/metrics", false},
		{"internal/edge", "internal/app", false},
		{"internal/metrics", "internal/edge", true},
		{"internal/config", "mail", true},
		{"internal/config", "internal/edge", false},
		{"internal/config", "internal/metrics", false},
		{"internal/config", "internal/quarantine", false},
		{"internal/archive/zip", "internal/archive/codec", true},
		{"internal/archive/zip", "mail", false},
		{"internal/archive/zip", "filter", false},
		{"mail", "internal/archive", false},
		{"filter/attachments", "internal/archive/zip", true},
		{"internal/app", "filter/heuristics", true},
		{"internal/app", "internal/law", false},
	} {
		if o := offence(c.here, c.there); (o == "") != c.allowed {
			t.Errorf("%s imports %s: %q", c.here, c.there, o)
		}
	}
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	for _, p := range packages(t) {
		here, _ := room(p.ImportPath)
		for _, imp := range p.Imports {
			for lib, rooms := range only {
				if !within(imp, lib) {
					continue
				}
				ok := false
				for _, r := range rooms {
					ok = ok || here == r || r != "" && within(here, r)
				}
				if !ok {
					t.Errorf("%s imports %s, which belongs to %q only", here, imp, rooms)
				}
			}
		}
	}
}
