package sealed

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// The types of content (RFC 5652, RFC 5083, RFC 3274; PKCS #7 1.5), as the octets of their identifiers.
const (
	pkcs7 = "\x2a\x86\x48\x86\xf7\x0d\x01\x07"
	smime = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01"

	idData               = pkcs7 + "\x01"
	idSigned             = pkcs7 + "\x02"
	idEnveloped          = pkcs7 + "\x03"
	idSignedAndEnveloped = pkcs7 + "\x04"
	idDigested           = pkcs7 + "\x05"
	idEncrypted          = pkcs7 + "\x06"
	idAuthenticated      = smime + "\x02"
	idCompressed         = smime + "\x09"
	idAuthEnveloped      = smime + "\x17"

	idZlib = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x08"
)

// secret names the types that only their recipient can read.
var secret = map[string]string{
	idEnveloped:          "EnvelopedData",
	idSignedAndEnveloped: "SignedAndEnvelopedData",
	idEncrypted:          "EncryptedData",
	idAuthEnveloped:      "AuthEnvelopedData",
}

// sequences says for the types that hold content as it is how many sequences stand before that.
var sequences = map[string]int{idSigned: 0, idDigested: 1, idAuthenticated: 1, idCompressed: 1}

// IsCMS reports whether a file that begins with head is CMS: as it is, in PEM, or in base64 alone.
func IsCMS(head []byte) bool {
	return isDER(head) || hasLabel(head, isCMSLabel) || isBase64(head)
}

// isDER reports whether head begins with a ContentInfo of CMS (RFC 5652 3).
func isDER(head []byte) bool {
	if len(head) < 4 || head[0] != tagSequence {
		return false
	}
	b := &ber{f: archive.NewFile(head[:min(len(head), headSize)])}
	outer, err := b.read(0, 1<<62)
	if err != nil {
		return false
	}
	id := b.octets(outer.content, 2+int64(len(smime)))
	return len(id) > 2 && id[0] == tagOID && (bytes.HasPrefix(id[2:], []byte(pkcs7)) || bytes.HasPrefix(id[2:], []byte(smime)))
}

// cms reads one ContentInfo after the other.
func (w *walker) cms(f *archive.File, depth int) error {
	b := &ber{f: f}
	for at := int64(0); ; {
		outer, err := b.read(at, f.Size())
		if err == nil {
			var found bool
			found, err = w.info(b, outer, depth)
			if w.secret { // whatever else there is, nobody here can read it
				if err == errBER || err == errCut || err == errDeep {
					err = b.err
				}
				return err
			}
			if err == nil && !found {
				err = errBER
			}
		}
		if err = w.failed(b, "CMS", err); err != nil || outer.tag == 0 {
			return err
		}
		if at, err = b.after(outer, 0); err == errCut && b.err == nil {
			return nil // certificates and signatures are missing, and behind them there is nothing
		}
		if err != nil {
			return w.failed(b, "CMS", err)
		}
		tail, err := f.Section(at, headSize).Head(headSize)
		if err != nil {
			return err
		}
		if len(bytes.Trim(tail, "\x00\r\n\t ")) == 0 && len(tail) < headSize {
			return nil
		}
		if !isDER(tail) {
			return w.t.Sign(archive.Unreadable, "CMS: %d octets behind it can't be read", f.Size()-at)
		}
	}
}

// broken is what is wrong with the content; every other error ends the walk.
type broken struct{ error }

// failed tells of what is wrong with the content, and gives back any other error.
func (w *walker) failed(b *ber, what string, err error) error {
	switch err {
	case nil:
		return nil
	case errBER, errCut, errDeep:
		if b.err != nil {
			return b.err
		}
		return w.problem(what, err)
	}
	if p, ok := err.(broken); ok {
		return w.problem(what, p.error)
	}
	return err
}

// info reads a type and the content behind it, which stands in [0]: a ContentInfo, or an EncapsulatedContentInfo.
func (w *walker) info(b *ber, outer element, depth int) (found bool, err error) {
	if outer.tag != tagSequence {
		return false, nil
	}
	id := ""
	err = b.children(outer, func(e element) (bool, error) {
		switch {
		case id == "" && e.tag == tagOID:
			id = b.oid(e)
			w.secret = secret[id] != ""
			if w.secret {
				return false, w.t.Sign(archive.Sealed, "S/MIME: it is encrypted for its recipient (%s)", secret[id])
			}
			return true, nil
		case id == "" || e.tag != tagExplicit:
			return false, errBER
		}
		var inside error
		err := b.children(e, func(content element) (bool, error) {
			if found {
				return false, errBER // a second content, which some reader may take
			}
			found = true
			inside = w.content(b, id, content, depth)
			return true, inside
		})
		if err == errCut && found && inside == nil && b.err == nil {
			err = nil // the content is whole, or there is none
		}
		return false, err
	})
	return found || id != "", err
}

// content reads what a type says it is.
func (w *walker) content(b *ber, id string, e element, depth int) error {
	before, holds := sequences[id]
	switch {
	case depth > deepest:
		return errDeep
	case holds && e.tag == tagSequence:
		return w.holder(b, id, e, before, depth)
	case e.tag&^constructed == tagOctets:
		return w.octets(b, id, e, depth)
	case holds || id == idData:
		return errBER
	case bytes.HasPrefix([]byte(id), []byte(pkcs7)):
		return broken{fmt.Errorf("it is of the unknown type %x", id)}
	}
	// PKCS #7 1.5 lets any element stand where CMS has an octet string, as the signatures of programs do.
	after, err := b.after(e, 0)
	if err != nil {
		return err
	}
	return w.entry(&archive.Entry{Size: after - e.start}, w.source(b.f.Section(e.start, after-e.start).Reader()))
}

// holder finds the content within a type that holds it as it is.
func (w *walker) holder(b *ber, id string, e element, before, depth int) error {
	algorithm, found := "", false
	err := b.children(e, func(c element) (bool, error) {
		if c.tag != tagSequence {
			return true, nil
		}
		if before > 0 {
			before--
			return true, b.children(c, func(o element) (bool, error) {
				if o.tag == tagOID {
					algorithm = b.oid(o)
				}
				return false, nil
			})
		}
		found = true
		if id == idCompressed {
			return false, w.compressed(b, c, algorithm)
		}
		ok, err := w.info(b, c, depth+1)
		if err == nil && !ok {
			err = errBER
		}
		return false, err
	})
	if err == nil && !found {
		return errBER
	}
	return err
}

// octets gives the content of an octet string, whose type says whether it is a further holder.
func (w *walker) octets(b *ber, id string, e element, depth int) error {
	content := &pieces{w: w, b: b, first: e}
	_, holds := sequences[id]
	if !holds && secret[id] == "" {
		kind := ""
		if id == idData {
			kind = Entity
		}
		return w.entry(&archive.Entry{Type: kind, Size: -1}, content)
	}
	f, problem, err := archive.Spool(w.ctx, content, w.b)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if problem != nil {
		if err := w.problem("CMS", problem); err != nil {
			return err
		}
	}
	inner := &ber{f: f}
	outer, err := inner.read(0, f.Size())
	if err == nil {
		err = w.content(inner, id, outer, depth+1)
	}
	return w.failed(inner, "CMS", err)
}

// compressed gives the content of CompressedData (RFC 3274 1.1).
func (w *walker) compressed(b *ber, info element, algorithm string) error {
	if algorithm != idZlib {
		return broken{fmt.Errorf("it is compressed by the unknown method %x", algorithm)}
	}
	id := ""
	return b.children(info, func(e element) (bool, error) {
		if e.tag == tagOID && id == "" {
			id = b.oid(e)
			w.secret = secret[id] != ""
			if w.secret {
				return false, w.t.Sign(archive.Sealed, "S/MIME: it is encrypted for its recipient (%s)", secret[id])
			}
			return true, nil
		}
		if e.tag != tagExplicit {
			return false, errBER
		}
		return false, b.children(e, func(content element) (bool, error) {
			if content.tag&^constructed != tagOctets {
				return false, errBER
			}
			return false, w.entry(&archive.Entry{Type: Entity, Size: -1}, inflated(&pieces{w: w, b: b, first: content}))
		})
	})
}

// inflated decompresses zlib, whose header is read only when the content is.
func inflated(r io.Reader) io.Reader { return &lazy{r: r, open: openZlib} }

func openZlib(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }

type lazy struct {
	r, in io.Reader
	open  func(io.Reader) (io.Reader, error)
	err   error
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.in == nil && l.err == nil {
		l.in, l.err = l.open(l.r)
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.in.Read(p)
}
