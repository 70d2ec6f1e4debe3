package offcrypto

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// Records of a workbook stream (MS-XLS 2.3.2).
const (
	recordEOF      = 0x000a
	recordFilePass = 0x002f
	recordSheet    = 0x0085
)

// plainRecords are never encrypted (MS-XLS 2.2.10).
var plainRecords = map[uint16]bool{
	0x0009: true, 0x0209: true, 0x0409: true, 0x0809: true, // BOF of all versions
	recordFilePass: true,
	0x0194:         true, // UsrExcl
	0x0195:         true, // FileLock
	0x00e1:         true, // InterfaceHdr
	0x0196:         true, // RRDInfo
	0x0138:         true, // RRDHead
}

// recordCipher decrypts p, which stands at pos of the stream and belongs to a record of size octets.
type recordCipher func(p []byte, pos int64, size int)

// Workbook opens the stream Workbook or Book of an Excel file. Where the stream is not encrypted, it gives neither a
// file nor a sign. Else it gives the stream as it would be without a password, with the FilePass record made an
// empty one of number 0, where the password of Excel opens it, and the caller closes it; or the sign says why not.
func Workbook(ctx context.Context, stream *archive.File, b *archive.Budget) (plain *archive.File, sign *archive.Sign, err error) {
	pass, at, err := filePass(ctx, stream)
	if err != nil || pass == nil {
		return nil, nil, err
	}
	c, err := workbookCipher(pass)
	switch {
	case err == nil:
	case errors.Is(err, errPassword), errors.Is(err, errForeign):
		return nil, sentence(archive.Encrypted, "the workbook %v", err), nil
	default:
		return nil, sentence(archive.Encrypted, "the workbook is encrypted, and says wrongly how: %v", err), nil
	}
	r := &records{r: bufio.NewReaderSize(source{stream.Reader()}, 64<<10), from: at, decrypt: c}
	plain, wrong, err := archive.Spool(ctx, r, b)
	if err != nil || wrong == nil {
		return plain, nil, err
	}
	if sign, err = problem("the encrypted workbook", wrong); err != nil {
		_ = plain.Close()
		return nil, nil, err
	}
	return plain, sign, nil
}

// filePass finds the FilePass record among the globals of a workbook: its content, and where it begins.
func filePass(ctx context.Context, stream *archive.File) (content []byte, at int64, err error) {
	r := bufio.NewReaderSize(stream.Reader(), 4096)
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, 0, notEOF(err)
		}
		id, size := le.Uint16(head[:]), int(le.Uint16(head[2:]))
		switch {
		case n == 0 && !(plainRecords[id] && id&0xff == 0x09):
			return nil, 0, nil // no workbook
		case id == recordEOF:
			return nil, 0, nil
		case id == recordFilePass:
			content = make([]byte, size)
			n, err := io.ReadFull(r, content)
			return content[:n:n], at, notEOF(err)
		}
		if _, err := r.Discard(size); err != nil {
			return nil, 0, notEOF(err)
		}
		at += 4 + int64(size)
	}
}

func notEOF(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// records reads a workbook stream, decrypted. It is as long as the stream, whatever is wrong with the records.
type records struct {
	r       *bufio.Reader
	from    int64 // where the FilePass record stands; what follows it is encrypted
	decrypt recordCipher
	pos     int64
	buf     [4 + 0xffff]byte
	out     []byte
}

// Read implements io.Reader.
func (r *records) Read(p []byte) (int, error) {
	if len(r.out) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// next makes out the next record.
func (r *records) next() error {
	n, err := io.ReadFull(r.r, r.buf[:4])
	if n < 4 {
		if r.out = r.buf[:n]; n > 0 {
			err = notEOF(err)
		}
		return err
	}
	id, size := le.Uint16(r.buf[:]), int(le.Uint16(r.buf[2:]))
	n, err = io.ReadFull(r.r, r.buf[4:4+size])
	if notEOF(err) != nil {
		return err
	}
	body, pos := r.buf[4:4+n], r.pos+4
	r.out = r.buf[:4+n]
	switch {
	case r.pos == r.from:
		le.PutUint16(r.buf[:], 0)
		clear(body)
	case r.pos < r.from || plainRecords[id]:
	case id == recordSheet:
		// Where the sheet begins is not encrypted (MS-XLS 2.2.10).
		skip := min(4, n)
		r.decrypt(body[skip:], pos+int64(skip), size)
	default:
		r.decrypt(body, pos, size)
	}
	r.pos = pos + int64(n)
	return nil
}
