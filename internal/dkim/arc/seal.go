package arc

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/mail"
)

// The reasons for which a message is not sealed although nothing has failed: it goes on without.
var (
	// ErrEnded says that the last seal is one of a chain that had failed: RFC 8617 5.1 and 5.1.3 end it there.
	ErrEnded = errors.New("arc: seal: the chain was sealed as failed before")
	// ErrFull says that the message has as many sets as it may have, or claims to have (RFC 8617 4.2.1).
	ErrFull = fmt.Errorf("arc: seal: the message has an instance %d", MaxSets)
	// ErrUnknown says that it is not known how the chain was when it came: there is nothing to be sealed.
	ErrUnknown = errors.New("arc: seal: the chain was not validated")
)

// Sealer makes ARC Sets with one key (RFC 8617 5.1). Its members are not to be changed while it is in use; it is safe
// for concurrent use if its key is.
type Sealer struct {
	Domain   string        // d=, A-labels
	Selector string        // s=
	Key      crypto.Signer // an *rsa.PrivateKey, an ed25519.PrivateKey, or what signs like one
	// Names overrides the names in h= of the message signature; nil is what SignedNames gives for the message.
	Names []string
	// Now is the clock of t=; nil is time.Now.
	Now func() time.Time

	asSuite bool // tags in one line, by name: as the test suite has them
}

// Want asks for the body hash that the Sealer needs.
func (s *Sealer) Want(bodies *dkim.Bodies) { bodies.Want(dkim.Relaxed, dkim.Whole) }

// SignedNames gives the names that a message signature over a header should have in h=.
func SignedNames(fields *dkim.Fields) []string {
	// RFC 8617 4.1.2: all DKIM signatures should be covered; Authentication-Results and ARC's own fields must not be.
	names := dkim.SignedNames(fields)
	for range fields.Named("dkim-signature") {
		names = append(names, "DKIM-Signature")
	}
	return names
}

// Seal makes the set that says what became of a message here: the fields that belong on top, the topmost first. fields
// are those of the message as it leaves, with every other field that is put on top, and bodies has hashed its body
// (Want). came is the outcome of the validation of the message as it came. authResults is the body of our
// Authentication-Results field (RFC 8601 2.2).
//
// ErrEnded, ErrFull and ErrUnknown say that the message is to go on without a set; any other error, that a set that is
// due could not be made.
func (s *Sealer) Seal(fields *dkim.Fields, bodies *dkim.Bodies, came Status, authResults string) ([]mail.AddField, error) {
	found := collect(fields.All())
	cv, err := found.next(came)
	if err != nil {
		return nil, err
	}
	sum, ok := bodies.Sum(dkim.Relaxed, dkim.Whole)
	if !ok {
		return nil, errors.New("arc: seal: the body was not hashed")
	}
	algorithm, err := dkim.Algorithm(s.Key)
	if err != nil {
		return nil, fmt.Errorf("arc: seal: %w", err)
	}
	n := newSet{Sealer: s, algorithm: algorithm, instance: strconv.Itoa(len(found.all) + 1)}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	n.time = strconv.FormatInt(now().Unix(), 10)

	results := mail.AddField{Name: fieldAuthResults, Body: "i=" + n.instance + "; " + strings.Trim(authResults, " \t\r\n")}
	message, err := n.signature(fields, sum)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	if cv != Fail {
		// RFC 8617 5.1.2: the seal of a failed chain covers its own set only, as if there were no other.
		for i := range found.all {
			write(h, found.all[i].AuthResults.Raw)
			write(h, found.all[i].Signature.Raw)
			write(h, found.all[i].Seal.Raw)
		}
	}
	write(h, raw(results))
	write(h, raw(message))
	seal, err := s.finish(h, fieldSeal, layout{
		{{"i", n.instance}, {"a", algorithm}},
		{{"cv", string(cv)}, {"d", s.Domain}},
		{{"s", s.Selector}, {"t", n.time}},
		{{"b", ""}},
	})
	if err != nil {
		return nil, err
	}
	return []mail.AddField{seal, message, results}, nil
}

// newSet is a set that is being made.
type newSet struct {
	*Sealer
	algorithm, instance, time string
}

// signature makes the message signature.
func (n *newSet) signature(fields *dkim.Fields, body dkim.BodySum) (mail.AddField, error) {
	names := n.Names
	if names == nil {
		names = SignedNames(fields)
	}
	lower := strings.Split(mail.LowerASCII(strings.Join(names, ":")), ":")
	h := sha256.New()
	fields.WriteFields(h, fields.Pick(lower, -1).Picked, dkim.Relaxed)
	return n.finish(h, fieldSignature, layout{
		{{"i", n.instance}, {"a", n.algorithm}},
		{{"c", "relaxed/relaxed"}, {"d", n.Domain}},
		{{"s", n.Selector}, {"t", n.time}},
		{{"h", strings.Join(lower, ":")}},
		{{"bh", base64.StdEncoding.EncodeToString(body.Sum[:])}},
		{{"b", ""}},
	})
}

// next gives cv= for a new seal.
func (f *sets) next(came Status) (Status, error) {
	switch {
	case len(f.all) == 0 && f.problem == "":
		return None, nil // whether or not somebody has looked
	case f.ended:
		// RFC 8617 5.1, step 2: there is no need to proceed.
		return "", ErrEnded
	case len(f.all) >= MaxSets || f.more:
		return "", ErrFull
	case came == Pass && f.problem == "":
		return Pass, nil
	case came == Fail, came == Pass, came == None:
		// The latter two: the chain that leaves is not the one that came.
		return Fail, nil
	}
	return "", ErrUnknown
}

// raw gives a field as it will stand in the message.
func raw(f mail.AddField) string { return f.Name + ": " + f.Body + "\r\n" }

// finish makes a signature field. h has all that is signed but the field itself.
func (s *Sealer) finish(h hash.Hash, name string, tags layout) (mail.AddField, error) {
	if s.asSuite {
		tags = tags.byName()
	}
	unsigned := raw(mail.AddField{Name: name, Body: tags.text("", !s.asSuite)})
	// RFC 6376 3.7: the field itself comes last, with an empty b= and without the CRLF at its end.
	h.Write(bytes.TrimSuffix(dkim.AppendField(nil, unsigned, dkim.Relaxed), []byte("\r\n")))
	signature, err := dkim.SignDigest(s.Key, h.Sum(nil))
	if err != nil {
		return mail.AddField{}, fmt.Errorf("arc: seal: %w", err)
	}
	return mail.AddField{Name: name, Body: tags.text(base64.StdEncoding.EncodeToString(signature), !s.asSuite)}, nil
}
