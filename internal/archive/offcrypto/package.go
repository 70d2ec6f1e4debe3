package offcrypto

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// segment is how many octets are encrypted with one initialization vector (MS-OFFCRYPTO 2.3.4.15).
const segment = 4096

// infoLimit is how large a stream EncryptionInfo is read. Those of Office have two thousand octets.
const infoLimit = 1 << 20

// errForeign says that a file is encrypted by means that Office's own passwords do not open.
var errForeign = errors.New("is encrypted by other means")

// errPassword says that none of the passwords fits.
var errPassword = errors.New("needs a password")

// Package opens an encrypted package: info is the stream EncryptionInfo, body the stream EncryptedPackage. It gives
// the package within, a zip file by right, where one of the passwords of Office opens it; the caller closes it. The
// sign says why there is none, or what is odd about the one that there is.
func Package(ctx context.Context, info []byte, body *archive.File, b *archive.Budget) (plain *archive.File, sign *archive.Sign, err error) {
	open, err := opener(ctx, info, b)
	var spent *archive.ErrBudget
	switch {
	case err == nil:
	case errors.Is(err, errPassword), errors.Is(err, errForeign):
		return nil, sentence(archive.Encrypted, "the document %v", err), nil
	case errors.As(err, &spent):
		return nil, sentence(archive.Bomb, "trying the passwords of Office: %s", spent.What), nil
	case ctx.Err() != nil:
		return nil, nil, err
	default:
		return nil, sentence(archive.Encrypted, "the document is encrypted, and says wrongly how: %v", err), nil
	}
	return decrypt(ctx, open, body, b)
}

// cipherer decrypts the segment n in place; the length is a whole number of blocks.
type cipherer struct {
	block   int
	decrypt func(n uint32, p []byte)
}

// opener finds the key of a package by the version of its EncryptionInfo (MS-OFFCRYPTO 2.3.4.5, 2.3.4.10).
func opener(ctx context.Context, info []byte, b *archive.Budget) (*cipherer, error) {
	if len(info) < 8 || len(info) > infoLimit {
		return nil, errors.New("no EncryptionInfo")
	}
	major, minor := le.Uint16(info), le.Uint16(info[2:])
	switch {
	case major == 4 && minor == 4:
		return agile(ctx, info[8:], b)
	case (major == 2 || major == 3 || major == 4) && minor == 2:
		return standard(ctx, info[4:], b)
	}
	return nil, errForeign
}

func decrypt(ctx context.Context, c *cipherer, body *archive.File, b *archive.Budget) (*archive.File, *archive.Sign, error) {
	head, err := body.Head(8)
	if err != nil {
		return nil, nil, err
	}
	if len(head) < 8 {
		return nil, sentence(archive.Unreadable, "the encrypted document is cut short"), nil
	}
	size := le.Uint64(head)
	rest := body.Section(8, body.Size())
	left := int64(min(size, 1<<62))
	r := &segments{r: bufio.NewReaderSize(source{rest.Reader()}, segment), c: c, left: left}
	plain, wrong, err := archive.Spool(ctx, r, b)
	if err != nil {
		return nil, nil, err
	}
	if wrong != nil {
		sign, err := problem("the encrypted document", wrong)
		if err != nil {
			_ = plain.Close()
			return nil, nil, err
		}
		return plain, sign, nil
	}
	if rest.Size()-left > segment {
		// Whoever pays no heed to the size would find more.
		return plain, sentence(archive.Unreadable, "%d octets behind the encrypted document", rest.Size()-left), nil
	}
	return plain, nil, nil
}

// segments reads what is encrypted, decrypted and without its padding.
type segments struct {
	r    io.Reader
	c    *cipherer
	left int64 // octets of plain text to come
	n    uint32
	buf  [segment]byte
	out  []byte
}

// Read implements io.Reader.
func (s *segments) Read(p []byte) (int, error) {
	if len(s.out) == 0 {
		if s.left == 0 {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

func (s *segments) next() error {
	n, err := io.ReadFull(s.r, s.buf[:])
	if n -= n % s.c.block; n == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	s.c.decrypt(s.n, s.buf[:n])
	s.n++
	s.out = s.buf[:min(int64(n), s.left)]
	s.left -= int64(len(s.out))
	return nil
}
