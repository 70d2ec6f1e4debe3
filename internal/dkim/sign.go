package dkim

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signer makes DKIM signatures with one key (RFC 6376 5). Its members are not to be changed while it is in use; it is safe
// for concurrent use if its key is.
type Signer struct {
	Domain   string        // d=, A-labels
	Selector string        // s=
	Key      crypto.Signer // an *rsa.PrivateKey, an ed25519.PrivateKey, or what signs like one
	// Canons is c=; "" is relaxed/relaxed, which survives more of what servers do to mail on its way.
	Canons   string
	Identity string        // i=; "" leaves it out
	Lifetime time.Duration // after which the signature expires (x=); 0 leaves x= out
	// Now is the clock of t= and x=; nil is time.Now.
	Now func() time.Time
	// Names overrides the names of h=; nil is what SignedNames gives for the message.
	Names []string
}

// overSigned are the fields that are named once more than they stand, so that nobody can add one (RFC 6376 5.4.2, 8.15);
// signed are named as often as they stand, as others on the way may rightly add them (RFC 6376 5.4.1). Trace fields, and
// those that others remove or change, are in neither.
var (
	overSigned = []string{
		"From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition",
	}
	signed = []string{
		"Content-ID", "Content-Description", "Content-Language",
		"Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
		"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
		"Autocrypt", "Feedback-ID", "Auto-Submitted",
	}
)

// SignedNames gives the names that a signature over a header should have in h=.
func SignedNames(fields *Fields) []string {
	var names []string
	add := func(name string, n int) {
		for range n {
			names = append(names, name)
		}
	}
	for _, name := range overSigned {
		add(name, len(fields.Named(fold(name)))+1)
	}
	for _, name := range signed {
		add(name, len(fields.Named(fold(name))))
	}
	return names
}

// Sign makes a DKIM-Signature field, with the CRLF at its end, to be put above the fields. bodies must have been
// told of the Signer (Want) and have hashed the body.
func (s *Signer) Sign(fields *Fields, bodies *Bodies) (string, error) {
	header, body, err := s.canons()
	if err != nil {
		return "", err
	}
	if len(fields.Named("from")) == 0 {
		// RFC 6376 5.4: From must be signed.
		return "", errors.New("dkim: sign: the message has no From")
	}
	algorithm, err := Algorithm(s.Key)
	if err != nil {
		return "", err
	}
	sum, ok := bodies.Sum(body, Whole)
	if !ok {
		return "", errors.New("dkim: sign: the body was not hashed")
	}
	names := s.Names
	if names == nil {
		names = SignedNames(fields)
	}
	lowered := make([]string, len(names))
	for i, name := range names {
		if lowered[i] = fold(name); !isFieldName(name) || strings.ContainsAny(name, ":;") {
			return "", fmt.Errorf("dkim: sign: %q is no name of a field", name)
		}
	}
	if !slices.Contains(lowered, "from") {
		return "", errors.New("dkim: sign: From must be signed")
	}
	tags := []Tag{
		{Name: "v", Value: "1"},
		{Name: "a", Value: algorithm},
		{Name: "c", Value: header.String() + "/" + body.String()},
		{Name: "d", Value: s.Domain},
		{Name: "s", Value: s.Selector},
	}
	if s.Identity != "" {
		tags = append(tags, Tag{Name: "i", Value: s.Identity})
	}
	tags = append(tags, s.times()...)
	tags = append(tags,
		Tag{Name: "h", Value: strings.Join(names, ":")},
		Tag{Name: "bh", Value: base64.StdEncoding.EncodeToString(sum.Sum[:])})
	picked := fields.Pick(lowered, -1)
	return Seal("DKIM-Signature", tags, header, s.Key, func(w io.Writer) { fields.WriteFields(w, picked.Picked, header) })
}

// Want asks for the body hash that the Signer needs.
func (s *Signer) Want(bodies *Bodies) {
	if _, body, err := s.canons(); err == nil {
		bodies.Want(body, Whole)
	}
}

func (s *Signer) canons() (header, body Canon, err error) {
	if s.Canons == "" {
		return Relaxed, Relaxed, nil
	}
	return ParseCanons(s.Canons)
}

func (s *Signer) times() []Tag {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	at := now()
	tags := []Tag{{Name: "t", Value: strconv.FormatInt(at.Unix(), 10)}}
	if s.Lifetime > 0 {
		tags = append(tags, Tag{Name: "x", Value: strconv.FormatInt(at.Add(max(s.Lifetime, time.Second)).Unix(), 10)})
	}
	return tags
}

// Sign makes one signature field with each signer, the first signer's first, reading the body once.
func Sign(fields *Fields, body io.WriterTo, signers ...*Signer) ([]string, error) {
	bodies := &Bodies{}
	for _, s := range signers {
		s.Want(bodies)
	}
	if err := bodies.Hash(body); err != nil {
		return nil, err
	}
	all := make([]string, 0, len(signers))
	for _, s := range signers {
		field, err := s.Sign(fields, bodies)
		if err != nil {
			return nil, err
		}
		all = append(all, field)
	}
	return all, nil
}

// Seal makes a field of the given name that ends in b=: tags, folded, and the signature by key of what write gives, followed by
// the field itself in the canonical form that canon says. The field ends with CRLF.
func Seal(name string, tags []Tag, canon Canon, key crypto.Signer, write func(io.Writer)) (string, error) {
	for _, t := range tags {
		if !isTagName(t.Name) || !isTagValue(t.Value) || strings.ContainsAny(t.Value, ";\r\n") {
			return "", fmt.Errorf("dkim: sign: %s=%q can't stand in a list", t.Name, clip(t.Value))
		}
	}
	field := layOut(name, tags)
	h := sha256.New()
	write(h)
	h.Write([]byte(strings.TrimSuffix(string(AppendField(nil, field, canon)), "\r\n")))
	signature, err := SignDigest(key, h.Sum(nil))
	if err != nil {
		return "", fmt.Errorf("dkim: sign: %w", err)
	}
	l := line{b: []byte(field), used: len(field) - 2 - strings.LastIndex(field[:len(field)-2], "\n") - 1}
	l.b = l.b[:len(field)-2]
	l.broken(base64.StdEncoding.EncodeToString(signature))
	return string(l.b) + "\r\n", nil
}

// maxLine is how long a line may be, without its CRLF (RFC 5322 2.1.1).
const maxLine = 78

// layOut writes a field of tags, folded, that ends in "b=" and CRLF.
func layOut(name string, tags []Tag) string {
	l := line{}
	l.word(name+":", "")
	for _, t := range tags {
		switch {
		case t.Name == "h":
			l.list(t.Value)
		case t.Name == "bh":
			l.word("bh=", " ")
			l.broken(t.Value + ";")
		default:
			l.word(t.Name+"="+t.Value+";", " ")
		}
	}
	l.word("b=", " ")
	return string(l.b) + "\r\n"
}

// line writes a folded field.
type line struct {
	b    []byte
	used int // octets of the last line
}

// word writes a word that is not to be folded within, behind a separator or a fold.
func (l *line) word(s, separator string) {
	if l.used+len(separator)+len(s) > maxLine && l.used > 1 {
		l.b = append(l.b, "\r\n\t"...)
		l.used, separator = 1, ""
	}
	l.b = append(append(l.b, separator...), s...)
	l.used += len(separator) + len(s)
}

// list writes h=, folded behind colons (RFC 6376 3.5).
func (l *line) list(names string) {
	separator, prefix := " ", "h="
	for names != "" {
		name, rest, more := strings.Cut(names, ":")
		if more {
			name += ":"
		} else {
			name += ";"
		}
		l.word(prefix+name, separator)
		separator, prefix, names = "", "", rest
	}
}

// broken writes what may be folded anywhere.
func (l *line) broken(s string) {
	for s != "" {
		if l.used >= maxLine {
			l.b = append(l.b, "\r\n\t"...)
			l.used = 1
		}
		n := min(maxLine-l.used, len(s))
		l.b = append(l.b, s[:n]...)
		l.used += n
		s = s[n:]
	}
}
