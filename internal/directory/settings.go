// Package directory reads which mailboxes there are out of an LDAP directory (RFC 4511), and answers for them from memory: with
// the directory down, and from the last snapshot on disk after a start. It knows neither routes nor what a client is told.
package directory

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// TLSMode says how connections are protected. With ldaps:// TLS begins with the connection, with ldap:// by StartTLS.
type TLSMode uint8

const (
	TLSVerify   TLSMode = iota // the certificate must be good for the host's name
	TLSRequired                // any certificate
	TLSNone                    // none, with ldap:// only
)

// ParseTLSMode reads the name of a mode.
func ParseTLSMode(s string) (TLSMode, error) {
	switch s {
	case "verify":
		return TLSVerify, nil
	case "required":
		return TLSRequired, nil
	case "none":
		return TLSNone, nil
	}
	return 0, fmt.Errorf("directory: no such TLS mode: %q", s)
}

// Settings say where a directory is and what is asked of it. All of it is the administrator's: nothing that a client sends gets
// into a filter.
type Settings struct {
	URLs       []string // of servers, tried in their order, as CheckURL takes them
	Base       []string // DNs below which mailboxes are looked for
	Filter     string   // of the entries that have mailboxes
	Attributes []string // whose values are addresses, see Address

	User, Password string // for a simple bind; "": anonymous
	TLS            TLSMode
	CAFile         string // PEM file of the authorities to trust with TLSVerify; "": the system's. Read for each connection

	Refresh time.Duration // how often it is looked for what is new
	Full    time.Duration // how often everything is read
	Timeout time.Duration // for the connection with its TLS, for the bind, and for each page
	Stale   time.Duration // the age from which a list does not say any more that there is no such mailbox
	Page    int           // entries asked for at once (RFC 2696)

	Apart bool // other servers are asked the same, and have another list: the URLs are part of the Digest
}

// Digest names the list: what is asked for, and, if Apart, of whom. Without that, another server has the same list, and a list of before is
// what its answer is compared with.
func (s *Settings) Digest() string {
	parts := [][]string{s.Base, {s.Filter}, s.Attributes}
	if s.Apart {
		parts = append(parts, s.URLs)
	}
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%q\n", part)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Equal reports whether two are the same in all.
func (s *Settings) Equal(o *Settings) bool { return reflect.DeepEqual(s, o) }

// CheckURL checks the URL of a server: ldap or ldaps, a host, and a port if it is not the usual one (389, 636).
func CheckURL(s string) error {
	_, _, err := parseURL(s)
	return err
}

// Loopback reports whether the URL, which CheckURL takes, leads to this machine.
func Loopback(s string) bool {
	_, addr, err := parseURL(s)
	if err != nil {
		return false
	}
	host, _, _ := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Secure reports whether the URL begins TLS with the connection.
func Secure(s string) bool {
	secure, _, err := parseURL(s)
	return err == nil && secure
}

// parseURL gives whether TLS begins with the connection, and host:port.
func parseURL(s string) (secure bool, addr string, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return false, "", errors.New("not a URL")
	}
	port := u.Port()
	switch strings.ToLower(u.Scheme) {
	case "ldap":
		port = or(port, "389")
	case "ldaps":
		secure, port = true, or(port, "636")
	default:
		return false, "", errors.New("neither ldap:// nor ldaps://")
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 || strings.Trim(port, "0123456789") != "" {
		return false, "", errors.New("no such port")
	}
	if u.Hostname() == "" {
		return false, "", errors.New("no host")
	}
	if u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return false, "", errors.New("more than a host and a port")
	}
	return secure, net.JoinHostPort(u.Hostname(), port), nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// CheckFilter checks a filter (RFC 4515).
func CheckFilter(s string) error {
	_, err := ldap.CompileFilter(s)
	var inner *ldap.Error
	if errors.As(err, &inner) {
		return errors.New(strings.TrimPrefix(inner.Err.Error(), "ldap: "))
	}
	return err
}

// CheckDN checks a distinguished name (RFC 4514).
func CheckDN(s string) error {
	dn, err := ldap.ParseDN(s)
	if err == nil && len(dn.RDNs) == 0 {
		return errors.New("empty")
	}
	return err
}

// CheckAttribute checks the name of an attribute (RFC 4512 2.5), without options.
func CheckAttribute(s string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if s == "" || len(s) > 100 || !strings.ContainsRune(letters, rune(s[0])) || strings.Trim(s, letters+"0123456789-") != "" {
		return errors.New("not the name of an attribute")
	}
	return nil
}

// DefaultFilter is the filter of entries that have any of the attributes.
func DefaultFilter(attributes []string) string {
	var b strings.Builder
	for _, a := range attributes {
		fmt.Fprintf(&b, "(%s=*)", a)
	}
	if len(attributes) == 1 {
		return b.String()
	}
	return "(|" + b.String() + ")"
}
