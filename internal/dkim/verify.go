package dkim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
)

// MaxVerified is how many signatures of a message are verified where nothing else is asked for (RFC 6376 6.1: a
// verifier may limit them). Each costs a look-up and some arithmetic; the body is read once for all.
const MaxVerified = 10

// Options say how signatures are judged.
type Options struct {
	Resolver Resolver
	// Keys asks for the keys; nil: Keys of its own over Resolver.
	Keys *Keys
	// Now is the clock that x= is held against; nil is time.Now.
	Now func() time.Time
	// MaxVerified is how many signatures are verified, the topmost first; 0 is MaxVerified.
	MaxVerified int
	// AcceptPartial makes a signature with an l= that leaves octets of the body out pass like another. RFC 6376 8.2:
	// anybody may have added them. Without it the result is policy.
	AcceptPartial bool
}

// Check is a signature and what it is worth.
type Check struct {
	*Signature
	Index  int // of the field, in Fields
	Result Result
	Reason string // for people; empty for a pass
	Key    *Key   // nil where it is not known
	// OverSigned lists the names, in lower case, that h= has more often than the header: a field of that name can't be added
	// unseen.
	OverSigned []string
	// Added lists, in lower case, the fields of which some are signed and others, above them, are not, and those that lenient
	// readers find in lines that are no field, which can't be signed: somebody may have added what a reader is shown.
	Added []string
	// Unsigned lists, in lower case, the fields that readers show or go by, of which none is signed: each may be anybody's.
	Unsigned []string
}

// NewCheck reads the signature in the field at index i.
func NewCheck(fields *Fields, i int, kind Kind) *Check {
	s, err := ParseSignature(fields.all[i], kind)
	c := &Check{Signature: s, Index: i}
	c.settle(err)
	return c
}

// settle takes the result from an error; nil leaves the Check as it is.
func (c *Check) settle(err error) {
	var e *Error
	switch {
	case err == nil:
	case errors.As(err, &e):
		c.Result, c.Reason = e.Result, e.Reason
	default:
		c.Result, c.Reason = PermError, err.Error()
	}
}

// Checks reads the DKIM signatures of a header, top to bottom, the first limit of them; 0 is all.
func Checks(fields *Fields, limit int) []*Check {
	at := fields.Named("dkim-signature")
	if limit > 0 {
		at = at[:min(limit, len(at))]
	}
	all := make([]*Check, 0, len(at))
	for _, i := range at {
		all = append(all, NewCheck(fields, i, Message))
	}
	tellApart(all)
	return all
}

// tellApart lengthens the Prefix of signatures that begin alike until they differ (RFC 6008 4: it must be long enough to
// be unique among the results).
func tellApart(all []*Check) {
	if len(all) < 2 {
		return
	}
	alike := map[string][]*Check{}
	for _, c := range all {
		alike[c.Prefix] = append(alike[c.Prefix], c)
	}
	for _, group := range alike {
		for n := minPrefix + 1; len(group) > 1 && n <= maxPrefix; n++ {
			seen := map[string]bool{}
			for _, c := range group {
				c.lengthen(n)
				seen[c.Prefix] = true
			}
			if len(seen) == len(group) {
				break
			}
		}
	}
}

// Verify judges all DKIM signatures of a message, top to bottom. The error means that the body could not be read or
// that the context has ended; nothing is known then.
func Verify(ctx context.Context, fields *Fields, body io.WriterTo, o Options) ([]*Check, error) {
	checks := Checks(fields, 0)
	bodies := &Bodies{}
	want(bodies, checks)
	if err := bodies.Hash(body); err != nil {
		return nil, err
	}
	return checks, Judge(ctx, fields, bodies, checks, o)
}

// want asks for the body hashes that the checks need.
func want(bodies *Bodies, checks []*Check) {
	for _, c := range checks {
		if c.Result == "" && c.Kind != ARCSeal {
			bodies.Want(c.Body, c.Limit)
		}
	}
}

// Judge fills in the results of those checks that have none yet: signatures over a message, in a DKIM-Signature or
// an ARC-Message-Signature, whose body hashes are in bodies. The error means that the context has ended.
func Judge(ctx context.Context, fields *Fields, bodies *Bodies, checks []*Check, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxVerified <= 0 {
		o.MaxVerified = MaxVerified
	}
	if o.Keys == nil {
		o.Keys = NewKeys(o.Resolver, 0)
	}
	open := screen(checks, o)
	signatures := make([]*Signature, 0, len(open))
	for _, c := range open {
		signatures = append(signatures, c.Signature)
	}
	o.Keys.Fetch(ctx, signatures...)
	for _, c := range open {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("dkim: %w", err)
		}
		c.judge(fields, bodies, o)
	}
	return nil
}

// screen settles what needs no key, and gives the checks that do.
func screen(checks []*Check, o Options) (open []*Check) {
	now := o.Now()
	for _, c := range checks {
		switch {
		case c.Result != "":
		case !c.Expires.IsZero() && now.After(c.Expires):
			// RFC 6376 6.1.1: signature expired.
			c.Result, c.Reason = PermError, "expired at "+c.Expires.Format(time.RFC3339)
		case len(open) == o.MaxVerified:
			c.Result, c.Reason = Policy, fmt.Sprintf("not verified: only %d signatures are", o.MaxVerified)
		default:
			open = append(open, c)
		}
	}
	return open
}

// judge settles a check in the order of RFC 6376 6.1.2 and 6.1.3: the key, the body hash, the signature.
func (c *Check) judge(fields *Fields, bodies *Bodies, o Options) {
	picked := fields.Pick(c.Names, c.Index)
	c.compare(fields, picked)
	key, err := o.Keys.Get(c.Signature)
	c.Key = key
	if err == nil && key.Strict && c.identityDomain != "" && c.identityDomain != c.Domain {
		// RFC 6376 3.6.1: with t=s the domain of i= must be that of d=.
		err = permError("i= is of a subdomain, which the key does not allow")
	}
	if err != nil {
		c.settle(err)
		return
	}
	sum, ok := bodies.Sum(c.Body, c.Limit)
	switch {
	case !ok:
		c.Result, c.Reason = TempError, "the body was not hashed"
		return
	case c.Limit > sum.Length:
		// RFC 6376 3.5: l= must not be larger than the body.
		c.Result, c.Reason = PermError, fmt.Sprintf("l= is more than the %d octets of the body", sum.Length)
		return
	case !bytes.Equal(sum.Sum[:], c.BodyHash):
		c.Result, c.Reason = Fail, "the body does not match bh="
		return
	}
	h := sha256.New()
	fields.WriteFields(h, picked.Picked, c.Header)
	h.Write(c.own())
	if err := key.Verify(c.Algorithm, h.Sum(nil), c.Value); err != nil {
		c.settle(err)
		return
	}
	if left := sum.Length - c.Limit; c.Limit != Whole && left > 0 && !o.AcceptPartial {
		// RFC 6376 8.2: what stands behind the signed octets may be anybody's.
		c.Result = Policy
		c.Reason = fmt.Sprintf("l= leaves %d of the body's %d octets unsigned", left, sum.Length)
		return
	}
	c.Result = Pass
}

// own gives the signature's own field as it is signed (RFC 6376 3.7): canonical, with nothing behind b=, and without
// the CRLF at its end.
func (s *Signature) own() []byte {
	return bytes.TrimSuffix(AppendField(nil, EmptyB(s.Raw, s.Tags), s.Header), []byte("\r\n"))
}

// shown are the fields that readers show or go by, of which a message has one each (RFC 5322 3.6, RFC 2045 3).
var shown = []string{
	"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id",
	"mime-version", "content-type", "content-transfer-encoding",
}

// compare notes which fields were over-signed, of which more stand in the header than were signed, and of which none was.
func (c *Check) compare(fields *Fields, picked Selection) {
	c.OverSigned = picked.Missing
	for _, name := range shown {
		n, all := picked.Count(name), len(fields.byName[name])
		if n == 0 && all > 0 {
			c.Unsigned = append(c.Unsigned, name)
		}
		if n > 0 && n < all || fields.like[name] {
			c.Added = append(c.Added, name)
		}
	}
}
