package attachments

import (
	"bytes"
	"encoding/binary"
)

// shellLink begins a Windows shortcut: the size of its header and its class identifier (MS-SHLLINK 2.1).
const shellLink = "\x4c\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"

// magics are formats that run, or that hold what has to be looked into, and no archives.
var magics = []magic{
	{0, shellLink, nil, kind{shortcut, "application/x-ms-shortcut", "a Windows shortcut"}},
	// Not the whole of the EICAR test file, lest this source be taken for one.
	{0, `X5O!P%@AP[4\PZX54(P^)`, nil, kind{executable, "application/x-dos-com", "the EICAR test program"}},
	{0, "#@~^", nil, kind{script, "text/vbscript", "an encoded Windows script"}},
	{0, "ITSF", zerosAt(5, 3), kind{script, "application/vnd.ms-htmlhelp", "a compiled help file, which may run scripts"}},
	{0, "?_\x03\x00", nil, kind{script, "application/winhlp", "an old Windows help file, which may run macros"}},
	{0, "FasdUAS ", nil, kind{script, "application/x-applescript", "a compiled AppleScript"}},
	{2, "\r\n", isPythonCode, kind{script, "application/x-python-code", "compiled Python"}},
	// A binary property list of nothing but URL.
	{0, "bplist00\xd1\x01\x02SURL", nil, kind{shortcut, "application/x-webloc", "a macOS shortcut to an address"}},
	{0, "{\\rt", nil, is("application/rtf")},
	{0, "\x78\x9f\x3e\x22", nil, is("application/ms-tnef")},
	// {7B5C52E4-D88C-4DA7-AEB1-5378D02996D3} and, of a table of contents, {43FF2FA1-EFD9-4C76-9EE2-10EA5722765F}
	// (MS-ONESTORE 2.3.1).
	{0, "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", nil, is("application/onenote")},
	{0, "\xa1\x2f\xff\x43\xd9\xef\x76\x4c\x9e\xe2\x10\xea\x57\x22\x76\x5f", nil, is("application/onenote")},
	{4, "Standard Jet DB\x00", nil, is("application/x-msaccess")},
	{4, "Standard ACE DB\x00", nil, is("application/x-msaccess")},
	{0, "!BDN", nil, is("application/vnd.ms-outlook-pst")},
	{0, "\x30", isCMS, is("application/pkcs7-mime")},
	{0, "\x30", isPKCS12, is("application/x-pkcs12")},
	{0, "", isOpenPGP, is("application/pgp-encrypted")},
	// The other way to begin a PDF (PDF Reference 1.7, appendix H.3, 14).
	{0, "%!PS-Adobe-", func(head []byte) bool { return bytes.Contains(head[:min(len(head), 32)], []byte(" PDF-")) }, is("application/pdf")},
	{0, "%!PS", nil, is("application/postscript")},
	{0, "\xc5\xd0\xd3\xc6", nil, is("application/postscript")},
	{0, "\x04%!PS", nil, is("application/postscript")},
}

func zerosAt(place, n int) func([]byte) bool {
	return func(head []byte) bool { return at(head, place, string(make([]byte, n))) }
}

// isPythonCode asks for a version of the byte code that there was, and for a code object behind the header, whose
// length has grown with the versions.
func isPythonCode(head []byte) bool {
	if len(head) < 17 {
		return false
	}
	v := binary.LittleEndian.Uint16(head)
	if !(v >= 3000 && v < 4000) && !(v >= 50000 && v < 63000) {
		return false
	}
	return head[8]&0x7f == 'c' || head[12]&0x7f == 'c' || head[16]&0x7f == 'c'
}

// isCMS asks for a sequence that begins with an object identifier of PKCS #7, or of the further content types of
// S/MIME (RFC 5652 3, RFC 5083, RFC 3274).
func isCMS(head []byte) bool {
	in := derInside(head)
	return bytes.HasPrefix(in, []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07")) ||
		bytes.HasPrefix(in, []byte("\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01"))
}

// isPKCS12 asks for a sequence of version 3 and another sequence with PKCS #7 in it (RFC 7292 4).
func isPKCS12(head []byte) bool {
	in, ok := bytes.CutPrefix(derInside(head), []byte("\x02\x01\x03"))
	return ok && isCMS(in)
}

// derInside gives what is in the DER or BER element with which b begins, as far as it is there.
func derInside(b []byte) []byte {
	if len(b) < 2 || b[0] != 0x30 {
		return nil
	}
	skip := 2
	if b[1] > 0x80 {
		skip += int(b[1] & 0x7f)
	}
	if skip > 2+8 || skip > len(b) {
		return nil
	}
	return b[skip:]
}

// isOpenPGP knows binary messages by their first packet: a session key that is encrypted for a public key, or by a
// passphrase (RFC 9580 4.2, 5.1, 5.3).
func isOpenPGP(head []byte) bool {
	if len(head) < 16 {
		return false
	}
	tag, body := head[0], 2
	if tag&0xc0 == 0xc0 { // the newer form of the header
		tag = tag & 0x3f
		if head[1] >= 192 {
			body = 3
		}
	} else {
		if tag&0x83 == 0x81 {
			body = 3
		} else if tag&0x83 != 0x80 {
			return false
		}
		tag = tag & 0x3f >> 2
	}
	version, next := head[body], head[body+1]
	switch tag {
	case 1: // for a key of RSA, ElGamal, ECDH, X25519 or X448
		algorithm := head[body+9]
		return version == 3 && (algorithm == 1 || algorithm == 2 || algorithm == 16 || algorithm == 18 || algorithm == 25 || algorithm == 26) ||
			version == 6 && next <= 33
	case 3:
		return body == 2 && head[1] >= 4 && head[1] < 80 && (version == 4 && next >= 1 && next <= 13 || version == 5 || version == 6)
	}
	return false
}

// detectPDF knows PDF, which may have other things in front: readers look for its header in the first 1024
// octets (PDF Reference 1.7, appendix H.3, 13). One that is not at the start must not be a text that
// mentions it.
func detectPDF(head []byte) kind {
	near := head[:min(len(head), 1024+8)]
	i := bytes.Index(near, []byte("%PDF-"))
	switch {
	case i < 0 || i > 1024:
		if j := bytes.Index(near, []byte("%!PS-Adobe-")); j >= 0 && bytes.Contains(near[j:min(len(near), j+32)], []byte(" PDF-")) {
			return is("application/pdf")
		}
		return kind{}
	case i == 0, len(head) >= headSize, hasObject(head[i:]):
		return is("application/pdf")
	}
	return kind{}
}

// hasObject reports whether there is the beginning of a PDF object, or something that is no text.
func hasObject(b []byte) bool {
	if bytes.IndexByte(b, 0) >= 0 {
		return true
	}
	for {
		i := bytes.Index(b, []byte("obj"))
		if i < 0 {
			return false
		}
		if before := bytes.TrimRight(b[:i], " \t\r\n\f"); len(before) > 0 && before[len(before)-1] >= '0' && before[len(before)-1] <= '9' {
			return true
		}
		b = b[i+3:]
	}
}
