// Package offcrypto opens Office files that are encrypted with a password which Office tries by itself, before it
// asks anybody: to the reader of the mail they are as open as any other. It is not a password cracker: what needs
// a password of its own is called encrypted.
package offcrypto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive"
)

// The streams of an encrypted package (MS-OFFCRYPTO 2.3.4.4).
const (
	InfoStream    = "EncryptionInfo"
	PackageStream = "EncryptedPackage"
)

// excel is the password of Excel's workbooks that are protected but meant to open for everybody (MS-OFFCRYPTO
// 2.4.2.3, MS-XLS 2.2.9); powerPoint is the one of PowerPoint (MS-PPT 2.3.7, MS-OFFCRYPTO 2.4.3).
const (
	excel      = "VelvetSweatshop"
	powerPoint = "/01Hannes Ruescher/01"
)

var passwords = []string{excel, powerPoint}

var le = binary.LittleEndian

// sentence makes a sign.
func sentence(kind archive.Kind, format string, args ...any) *archive.Sign {
	return &archive.Sign{Kind: kind, Why: fmt.Sprintf(format, args...)}
}

// problem makes the sign for what went wrong with content, and gives an error where reading itself failed.
func problem(what string, err error) (*archive.Sign, error) {
	var reading *readError
	var spent *archive.ErrBudget
	switch {
	case errors.As(err, &reading):
		return nil, fmt.Errorf("offcrypto: %w", reading.err)
	case errors.As(err, &spent):
		return sentence(archive.Bomb, "%s: %s", what, spent.What), nil
	default:
		return sentence(archive.Unreadable, "%s: %v", what, err), nil
	}
}

// readError is an error of the file that is read, which says nothing about its content.
type readError struct{ err error }

// Error gives the text of the error within.
func (e *readError) Error() string { return e.err.Error() }

// Unwrap gives the error within.
func (e *readError) Unwrap() error { return e.err }

// source reads a file, and marks what fails in it.
type source struct{ r io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = &readError{err}
	}
	return n, err
}

// unicode gives a password in UTF-16, as all but XOR obfuscation take it.
func unicode(password string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(password)) {
		out = le.AppendUint16(out, u)
	}
	return out
}

// Word reports whether the stream WordDocument, of which head is the start, says that the document is encrypted or
// obfuscated (MS-DOC 2.5.2: fEncrypted). Word tries no password by itself.
func Word(head []byte) bool {
	const encrypted = 0x0100
	return len(head) >= 12 && le.Uint16(head[10:])&encrypted != 0
}

// PowerPoint reports whether the stream "Current User", of which head is the start, says that the presentation is
// encrypted (MS-PPT 2.3.2: headerToken).
func PowerPoint(head []byte) bool {
	const encrypted = 0xf3d1c4df
	return len(head) >= 16 && le.Uint32(head[12:]) == encrypted
}
