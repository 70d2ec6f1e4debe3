package dkim

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Kind is which field a signature stands in. They share their tags, with exceptions.
type Kind uint8

// The kinds.
const (
	Message    Kind = iota // DKIM-Signature (RFC 6376 3.5)
	ARCMessage             // ARC-Message-Signature (RFC 8617 4.1.2): no v=, and i= is the instance
	ARCSeal                // ARC-Seal (RFC 8617 4.1.3): signs no body, and fields that it does not name
)

// required are the tags that a signature must have (RFC 6376 3.5, RFC 8617 4.1.2 and 4.1.3).
var required = [...][]string{
	Message:    {"v", "a", "b", "bh", "d", "h", "s"},
	ARCMessage: {"i", "a", "b", "bh", "d", "h", "s"},
	ARCSeal:    {"i", "a", "b", "cv", "d", "s"},
}

// MaxNames is how many names h= may have: nobody signs more, and the fields of a header are bounded likewise.
const MaxNames = 20_000

// Signature is what a signature says of itself. Where it can't be read to its end, the members that could not be
// read are zero.
type Signature struct {
	Kind Kind
	Raw  string // the field
	Tags Tags   // as written

	Algorithm string    // a=, lower case
	Header    Canon     // c=
	Body      Canon     // c=
	Domain    string    // d=, A-labels, lower case
	Selector  string    // s=, A-labels, lower case
	Identity  string    // i= of a DKIM-Signature, as written (dkim-quoted-printable) but for white space
	Instance  int       // i= of ARC's fields
	Names     []string  // h=, lower case
	Limit     int64     // l=; Whole where there is none
	Signed    time.Time // t=; zero for none
	Expires   time.Time // x=; zero for none
	BodyHash  []byte    // bh=
	Value     []byte    // b=
	Prefix    string    // the first octets of b=, as many as Checks takes to tell signatures apart (RFC 6008 4)

	start          string // the first maxPrefix octets of b=
	identityDomain string // of i=, A-labels; "" where there is none
}

// ParseSignature reads a signature field. With an error, which is an *Error, it still gives what could be read.
func ParseSignature(f mail.Field, kind Kind) (*Signature, error) {
	s := &Signature{Kind: kind, Raw: f.Raw, Limit: Whole}
	tags, err := ParseTags(fieldBody(f.Raw))
	s.Tags = tags
	s.describe()
	if err != nil {
		return s, err
	}
	if kind == Message {
		// RFC 6376 6.1.1: an unknown version is an error; RFC 6376 3.5: the tag is required, and its value is 1.
		switch v, ok := tags.Get("v"); {
		case !ok:
			return s, permError("the version is missing")
		case v != "1":
			return s, permError("unknown version " + clip(compact(v)))
		}
	}
	for _, name := range required[kind] {
		value, there := tags.Get(name)
		if value == "" && (!there || name != "h" || kind != ARCMessage) {
			return s, permError("the tag " + name + "= is missing or empty")
		}
	}
	for _, read := range []func() error{s.readKey, s.readHashes, s.readNames, s.readTimes} {
		if err := read(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// fieldBody gives what stands behind the colon.
func fieldBody(raw string) string {
	_, body, _ := strings.Cut(raw, ":")
	return strings.TrimSuffix(body, "\r\n")
}

// describe reads what is told of a signature, whatever it is worth.
func (s *Signature) describe() {
	s.Algorithm = fold(clip(s.Tags.Compact("a")))
	s.Domain = normal(s.Tags.Compact("d"))
	s.Selector = normal(s.Tags.Compact("s"))
	if s.Kind == Message {
		s.Identity = clip(s.Tags.Compact("i"))
	}
	b, _ := s.Tags.Get("b")
	s.start = compactTo(b, maxPrefix)
	s.lengthen(minPrefix)
}

// lengthen makes the Prefix of n octets, or all that there are.
func (s *Signature) lengthen(n int) {
	s.Prefix = strings.ToValidUTF8(s.start[:min(len(s.start), n)], "")
}

// How many octets of b= a signature is told by: RFC 6008 4 has eight at least, and more where others begin alike; what is
// still alike after forty was made to be.
const minPrefix, maxPrefix = 8, 40

// normal gives a domain as A-labels in lower case, if it is one.
func normal(s string) string {
	if len(s) <= 4*textLimit {
		if d, err := mail.Domain(s); err == nil {
			return d
		}
	}
	return fold(clip(s))
}

// readKey reads what leads to the key: a=, d=, s=, i=, q=.
func (s *Signature) readKey() error {
	switch s.Algorithm {
	case "rsa-sha256", "ed25519-sha256":
	case "rsa-sha1":
		// RFC 8301 3.1: rsa-sha1 must not be used; such signatures have permanently failed evaluation.
		return permError("rsa-sha1 is not accepted")
	default:
		return permError("unknown algorithm " + s.Algorithm)
	}
	d, _ := s.Tags.Get("d")
	if !isDomain(d) || !strings.Contains(s.Domain, ".") {
		// RFC 6376 3.5: domain-name = sub-domain 1*("." sub-domain)
		return permError("d= is no domain name")
	}
	if selector, _ := s.Tags.Get("s"); !isDomain(selector) {
		return permError("s= is no selector")
	}
	if s.Kind == Message {
		if err := s.readIdentity(); err != nil {
			return err
		}
	} else if err := s.readInstance(); err != nil {
		return err
	}
	if q, ok := s.Tags.Get("q"); ok && s.Kind != ARCSeal {
		for _, method := range splitList(q) {
			if fold(method) == "dns/txt" {
				return nil
			}
		}
		// RFC 6376 3.5: unrecognized query mechanisms must be ignored; then no key can be had.
		return permError("q= names no way that is known to ask for the key")
	}
	return nil
}

// isDomain tells a domain name, without a dot at its end.
func isDomain(s string) bool {
	_, err := mail.Domain(s)
	return err == nil && !strings.HasSuffix(s, ".")
}

// readIdentity checks that i= is within d= (RFC 6376 3.5, 6.1.1).
func (s *Signature) readIdentity() error {
	i, ok := s.Tags.Get("i")
	if !ok {
		return nil
	}
	i = decodeQuoted(i)
	at := strings.LastIndexByte(i, '@')
	if at < 0 || !isDomain(i[at+1:]) {
		return permError("i= is no identity")
	}
	// Domain names are compared without regard to case (RFC 4343 3).
	s.identityDomain = normal(i[at+1:])
	if !mail.Within(s.identityDomain, s.Domain) {
		return permError("i= is not within d=")
	}
	return nil
}

// decodeQuoted reads dkim-quoted-printable (RFC 6376 2.11): white space is ignored, "=" and two hexadecimal digits are an
// octet. What is malformed stays as it is.
func decodeQuoted(s string) string {
	s = compact(s)
	if !strings.Contains(s, "=") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '=' && i+2 < len(s) {
			if octet, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(octet))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// readInstance reads i= of ARC's fields (RFC 8617 4.2.1): 1 to 50.
func (s *Signature) readInstance() error {
	i, _ := s.Tags.Get("i")
	n, ok := number(i, 2)
	if !ok || n < 1 || n > 50 {
		return permError("i= is no instance from 1 to 50")
	}
	s.Instance = int(n)
	return nil
}

// readHashes reads b=, bh=, c= and l=.
func (s *Signature) readHashes() (err error) {
	var ok bool
	if s.Value, ok = s.Tags.base64("b"); !ok {
		return permError("b= is no base64")
	}
	if s.Kind == ARCSeal {
		s.Header = Relaxed // RFC 8617 4.1.3: there is no c=, and only relaxed is used
		return nil
	}
	if s.BodyHash, ok = s.Tags.base64("bh"); !ok {
		return permError("bh= is no base64")
	}
	c, has := s.Tags.Get("c")
	if has && c == "" {
		// RFC 6376 3.2: an empty value is not the default, which an omitted tag has.
		return permError("c= is empty")
	}
	if s.Header, s.Body, err = ParseCanons(c); err != nil {
		return err
	}
	if l, has := s.Tags.Get("l"); has {
		if s.Limit, ok = number(l, 76); !ok {
			return permError("l= is no number")
		}
	}
	return nil
}

// readNames reads h=.
func (s *Signature) readNames() error {
	h, ok := s.Tags.Get("h")
	if s.Kind == ARCSeal {
		if ok {
			// RFC 8617 4.1.3: an ARC-Seal with h= fails.
			return permError("a seal has no h=")
		}
		return nil
	}
	if strings.Count(h, ":") >= MaxNames {
		return &Error{Policy, "h= has more than " + strconv.Itoa(MaxNames) + " names"}
	}
	s.Names = splitList(fold(h))
	from := s.Kind == ARCMessage
	if from {
		// RFC 6376 5.4 would have From here too; chains with an empty name, or none, are taken by others.
		s.Names = slices.DeleteFunc(s.Names, func(name string) bool { return name == "" })
	}
	for _, name := range s.Names {
		if !isFieldName(name) {
			return permError("h= has what is no name of a field")
		}
		from = from || name == "from"
	}
	if !from {
		// RFC 6376 5.4, 6.1.1: From must be signed.
		return permError("h= does not name From")
	}
	return nil
}

// isFieldName tells a field-name (RFC 5322 3.6.8) that can stand in h= (RFC 6376 3.2: no ";").
func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// lastSecond is the end of the year 9999: later times, which twelve digits reach, can't be written down everywhere.
const lastSecond = 253402300799

// readTimes reads t= and x=.
func (s *Signature) readTimes() error {
	for _, x := range []struct {
		name string
		time *time.Time
	}{{"t", &s.Signed}, {"x", &s.Expires}} {
		v, ok := s.Tags.Get(x.name)
		if !ok {
			continue
		}
		n, ok := number(v, 12)
		if !ok {
			return permError(x.name + "= is no time")
		}
		*x.time = time.Unix(min(n, lastSecond), 0).UTC()
	}
	if !s.Expires.IsZero() && !s.Signed.IsZero() && !s.Expires.After(s.Signed) {
		// RFC 6376 3.5: x= must be greater than t= if both are present.
		return permError("x= is not after t=")
	}
	return nil
}

// number reads up to digits decimal digits. What is too large for an int64 is the largest one.
func number(s string, digits int) (int64, bool) {
	if s == "" || len(s) > digits {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// EmptyB gives a field with nothing behind "b=", as it is signed (RFC 6376 3.5, 3.7): the value and all
// white space around it are taken for the empty string. tags are those of the field.
func EmptyB(raw string, tags Tags) string {
	shift := strings.IndexByte(raw, ':') + 1
	for _, t := range tags {
		if t.Name == "b" {
			return raw[:shift+t.Start] + raw[shift+t.End:]
		}
	}
	return raw
}
