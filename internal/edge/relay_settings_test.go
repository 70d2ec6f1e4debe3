package edge

import (
	"encoding/base64"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/upstream"
)

// configureRelay makes one setting about who may relay, and tells whether it is one. With any of them there is a route
// to everywhere.
func configureRelay(t *testing.T, d *door, cfg *ListenerConfig, key, v string) bool {
	r := &cfg.Relay
	switch key {
	case "user":
		w := strings.Fields(v)
		if len(w) != 3 {
			t.Fatalf("%q is not NAME PASSWORD SEND", v)
		}
		if r.Users == nil {
			r.RequireTLS, r.Checker = !d.clearAuth, users.NewChecker()
		}
		addUser(t, d, r, userLine(w[0], w[1], w[2]))
	case "require_tls":
		d.clearAuth = v == "false"
		r.RequireTLS = !d.clearAuth
	case "networks":
		r.Networks = append(r.Networks, netip.MustParsePrefix(v))
	case "partner":
		p := Partner{}
		if n, err := netip.ParsePrefix(v); err == nil {
			p.Network = n
		} else {
			p.Domain, p.Below = strings.CutPrefix(v, "*.")
		}
		d.gw.Partners = append(d.gw.Partners, p)
		return true
	default:
		return false
	}
	d.gw.Router = outward(t)
	return true
}

// outward is a table with a way to everywhere, which ends in the second relay.
func outward(t testing.TB) *upstream.Table {
	t.Helper()
	table, err := upstream.NewTable([]upstream.Rule{
		{To: []string{"ours.example"}, Route: upstream.Route{Name: "ours", Upstream: "one", Policy: "default"}},
		{To: []string{"file.example"}, Route: upstream.Route{Name: "file", Upstream: "one", Policy: "default"}},
		{To: []string{"*"}, Route: upstream.Route{Name: "*", Upstream: "two", Policy: "default"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// userLine is a line for a file of users, with a hash that costs nothing.
func userLine(name, password, send string) string {
	b64 := base64.RawStdEncoding.EncodeToString
	sum := argon2.IDKey([]byte(password), []byte("some salt"), 1, 8, 1, 16)
	return name + " $argon2id$v=19$m=8,t=1,p=1$" + b64([]byte("some salt")) + "$" + b64(sum) + " send=" + send + "\n"
}

// addUser makes a file of the users that there are and one more.
func addUser(t testing.TB, d *door, r *Relay, line string) {
	t.Helper()
	d.users += line
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(d.users), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := users.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Users, d.usersFile = f, path
}
