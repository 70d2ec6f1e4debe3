package mapi

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compressed gives compressed rich text of flags and tokens.
func compressed(raw int, body []byte) []byte {
	d := &rtf{}
	for _, c := range body {
		d.sum = sum(d.sum, c)
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(body)+12))
	out = binary.LittleEndian.AppendUint32(out, uint32(raw))
	out = append(out, "LZFu"...)
	out = binary.LittleEndian.AppendUint32(out, d.sum)
	return append(out, body...)
}

func TestDecompress(t *testing.T) {
	// The five octets "{\rtf" by reference to the start of the preset, one literal "!", and the end.
	body := []byte{0b101, 0x00, 0x03, '!', 0x0d, 0x50}
	good := compressed(6, body)
	wrong := bytes.Clone(good)
	wrong[12]++
	plain := append([]byte("\x0f\x00\x00\x00\x03\x00\x00\x00MELA\x00\x00\x00\x00"), "abcd"...)
	for _, c := range []struct {
		name string
		in   []byte
		want string
		err  error
	}{
		{"reference", good, "{\\rtf!", nil},
		{"checksum", wrong, "{\\rtf!", errSum},
		{"more promised", compressed(7, body), "{\\rtf!", errShort},
		{"no end", compressed(6, body[:4]), "{\\rtf!", nil},
		{"plain", plain, "abc", nil},
		{"plain cut", plain[:18], "ab", errShort},
		{"cut", good[:9], "", errShort},
		{"unknown", append(bytes.Repeat([]byte("x"), 16), body...), "", errForm},
	} {
		got, err := io.ReadAll(Decompress(bytes.NewReader(c.in)))
		if string(got) != c.want || err != c.err {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestAttached(t *testing.T) {
	var a Attached
	a.Add(DisplayName, "shown")
	a.Add(AttachFilename, "SHORT~1.EXE")
	a.Add(AttachLongName, "long name.exe")
	a.Add(AttachExtension, ".exe")
	a.Add(AttachMIMETag, "x/y")
	a.Add(AttachLongPath, `\\server\x`)
	if diff := cmp.Diff([]string{"long name.exe", "SHORT~1.EXE", "shown", `\\server\x`}, a.Names()); diff != "" {
		t.Error(diff)
	}
	if a.Type() != "x/y" || a.Target() != "" {
		t.Error(a.Type(), a.Target())
	}
	if a.Method = 4; a.Target() != `\\server\x` {
		t.Error(a.Target())
	}
	var bare Attached
	bare.Add(AttachExtension, "exe")
	if diff := cmp.Diff([]string{"attachment.exe"}, bare.Names()); diff != "" {
		t.Error(diff)
	}
	for range 1000 {
		bare.Add(AttachFilename, strings.Repeat("x", len(bare.names[AttachFilename])+1))
	}
	if len(bare.names[AttachFilename]) > most {
		t.Error(len(bare.names[AttachFilename]))
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(compressed(6, []byte{0b101, 0x00, 0x03, '!', 0x0d, 0x50}))
	f.Fuzz(func(t *testing.T, in []byte) {
		n, _ := io.Copy(io.Discard, Decompress(bytes.NewReader(in)))
		if n > int64(len(in))*17 {
			t.Fatal(n)
		}
	})
}
