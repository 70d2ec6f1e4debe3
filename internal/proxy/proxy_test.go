package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// block makes a header of version 2.
func block(command, family byte, rest string) string {
	return string(signature) + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

func addition(kind byte, value string) string {
	return string([]byte{kind}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(value)))) + value
}

// summed puts a checksum behind the rest.
func summed(command, family byte, rest string) string {
	whole := block(command, family, rest+addition(typeCRC32C, "\x00\x00\x00\x00"))
	sum := crc32.Checksum([]byte(whole), castagnoli)
	return whole[:len(whole)-4] + string(binary.BigEndian.AppendUint32(nil, sum))
}

const (
	ends4 = "\xc0\x00\x02\x01\x0a\x00\x00\x05\xd9\x03\x00\x19" // 192.0.2.1:55555 to 10.0.0.5:25
	ends6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\xd9\x03\x00\x19"
	mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x05\xd9\x03\x00\x19"
)

// headers are all that Read takes: "local" or the two ends.
var headers = []struct{ name, in, want string }{
	{"TCP4", "PROXY TCP4 192.0.2.1 10.0.0.5 55555 25\r\n", "192.0.2.1:55555 10.0.0.5:25"},
	{"shortest TCP4", "PROXY TCP4 1.1.1.1 2.2.2.2 0 1\r\n", "1.1.1.1:0 2.2.2.2:1"},
	{"longest TCP4", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535 255.255.255.255:65535"},
	{"TCP6", "PROXY TCP6 2001:db8::1 2001:DB8::5 55555 25\r\n", "[2001:db8::1]:55555 [2001:db8::5]:25"},
	{"shortest TCP6", "PROXY TCP6 ::1 :: 1 1\r\n", "[::1]:1 [::]:1"},
	{
		"longest TCP6", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535",
	},
	{"mapped TCP6", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.5 55555 25\r\n", "192.0.2.1:55555 10.0.0.5:25"},
	{"nobody", "PROXY TCP4 0.0.0.0 10.0.0.5 55555 25\r\n", "local"},
	{"UNKNOWN", "PROXY UNKNOWN\r\n", "local"},
	{"UNKNOWN with addresses", "PROXY UNKNOWN 192.0.2.1 10.0.0.5 55555 25\r\n", "local"},
	{"UNKNOWN with anything", "PROXY UNKNOWN \r \n\rx\r\r\n", "local"},
	{"longest UNKNOWN", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", "local"},

	{"v2 TCP4", block(0x21, 0x11, ends4), "192.0.2.1:55555 10.0.0.5:25"},
	{"v2 TCP6", block(0x21, 0x21, ends6), "[2001:db8::1]:55555 [2001:db8::5]:25"},
	{"v2 mapped TCP6", block(0x21, 0x21, mapped), "192.0.2.1:55555 10.0.0.5:25"},
	{"v2 with additions", block(0x21, 0x11, ends4+addition(0x04, "")+addition(0x20, strings.Repeat("x", 300))+addition(0xea, "y")), "192.0.2.1:55555 10.0.0.5:25"},
	{"v2 with checksum", summed(0x21, 0x11, ends4), "192.0.2.1:55555 10.0.0.5:25"},
	{"v2 with checksum and more", summed(0x21, 0x21, ends6+addition(0x05, "id")), "[2001:db8::1]:55555 [2001:db8::5]:25"},
	{"v2 at the limit", block(0x21, 0x11, ends4+addition(0x04, strings.Repeat("x", mostBlock-len(ends4)-additionHead))), "192.0.2.1:55555 10.0.0.5:25"},
	{"v2 LOCAL", block(0x20, 0x00, ""), "local"},
	{"v2 LOCAL with addresses", block(0x20, 0x11, ends4), "local"},
	{"v2 LOCAL with rubbish", block(0x20, 0xff, "rubbish"), "local"},
	{"v2 UNSPEC", block(0x21, 0x00, "anything"), "local"},
	{"v2 UDP over IPv4", block(0x21, 0x12, ends4), "local"},
	{"v2 UDP over IPv6", block(0x21, 0x22, ends6), "local"},
	{"v2 UNIX stream", block(0x21, 0x31, strings.Repeat("/", 216)), "local"},
	{"v2 UNIX datagram", block(0x21, 0x32, strings.Repeat("/", 216)), "local"},
	{"v2 IPv4 without protocol", block(0x21, 0x10, ends4), "local"},
}

func show(h Header) string {
	if h.Local {
		return "local"
	}
	return h.Source.String() + " " + h.Destination.String()
}

const behind = "\r\nPROXY EHLO"

func TestRead(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			for name, slow := range map[string]func(io.Reader) io.Reader{
				"at once":    func(r io.Reader) io.Reader { return r },
				"by octet":   iotest.OneByteReader,
				"by halves":  iotest.HalfReader,
				"with error": iotest.DataErrReader,
			} {
				r := strings.NewReader(tt.in + behind)
				h, err := Read(slow(r))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if got := show(h); got != tt.want {
					t.Errorf("%s: got %s, want %s", name, got, tt.want)
				}
				if rest, _ := io.ReadAll(r); name != "with error" && string(rest) != behind {
					t.Errorf("%s: left %q behind the header", name, rest)
				}
			}
		})
	}
}

// TestReadInPieces: a line costs few reads.
func TestReadInPieces(t *testing.T) {
	reads := 0
	r := readerFunc(strings.NewReader("PROXY TCP4 192.0.2.100 10.0.0.5 55555 25\r\n").Read)
	if _, err := Read(readerFunc(func(p []byte) (int, error) { reads++; return r(p) })); err != nil || reads > 8 {
		t.Errorf("%d reads, %v", reads, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestMalformed(t *testing.T) {
	sum := summed(0x21, 0x11, ends4)
	for _, tt := range []struct{ name, in string }{
		{"EHLO", "EHLO x\r\n"},
		{"one octet", "Q"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00"},
		{"lower case", "proxy TCP4 192.0.2.1 10.0.0.5 55555 25\r\n"},
		{"two blanks", "PROXY  TCP4 192.0.2.1 10.0.0.5 55555 25\r\n"},
		{"tab", "PROXY\tTCP4 192.0.2.1 10.0.0.5 55555 25\r\n"},
		{"no family", "PROXY 192.0.2.1 10.0.0.5 55555 25\r\n"},
		{"UDP4", "PROXY UDP4 192.0.2.1 10.0.0.5 55555 25\r\n"},
		{"UNKNOWNS", "PROXY UNKNOWNS\r\n"},
		{"UNKNOWN with LF", "PROXY UNKNOWN\n" + strings.Repeat("x", 200)},
		{"line without end", "PROXY UNKNOWN " + strings.Repeat("x", 200)},
		{"108 octets", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n"},
		{"LF alone", "PROXY TCP4 192.0.2.1 10.0.0.5 55555 25\n\r\n"},
		{"CR alone", "PROXY TCP4 192.0.2.1 10.0.0.5 55555 25\rx"},
		{"blank at the end", "PROXY TCP4 192.0.2.1 10.0.0.5 55555 25 \r\n"},
		{"a field too few", "PROXY TCP4 192.0.2.1 10.0.0.5 55555\r\n" + strings.Repeat("x", 50)},
		{"a field too many", "PROXY TCP4 192.0.2.1 10.0.0.5 55555 25 x\r\n"},
		{"leading zero", "PROXY TCP4 192.0.2.01 10.0.0.5 55555 25\r\n"},
		{"leading zero of a port", "PROXY TCP4 192.0.2.1 10.0.0.5 055555 25\r\n"},
		{"signed port", "PROXY TCP4 192.0.2.1 10.0.0.5 +5555 25\r\n"},
		{"port too large", "PROXY TCP4 192.0.2.1 10.0.0.5 65536 25\r\n"},
		{"empty port", "PROXY TCP4 192.0.2.1 10.0.0.5  25\r\nxx"},
		{"three numbers", "PROXY TCP4 192.0.2 10.0.0.5 55555 25\r\n"},
		{"number too large", "PROXY TCP4 192.0.2.256 10.0.0.5 55555 25\r\n"},
		{"IPv6 as TCP4", "PROXY TCP4 2001:db8::1 2001:db8::5 55555 25\r\n"},
		{"IPv4 as TCP6", "PROXY TCP6 192.0.2.1 10.0.0.5 55555 25\r\n"},
		{"mixed", "PROXY TCP6 2001:db8::1 10.0.0.5 55555 25\r\n"},
		{"zone", "PROXY TCP6 fe80::1%eth0 2001:db8::5 55555 25\r\n"},
		{"name", "PROXY TCP4 client.example 10.0.0.5 55555 25\r\n"},
		{"line cut off", "PROXY TCP4 192.0.2.1 10.0.0.5 555"},
		{"line cut off early", "PROXY TCP4"},
		{"line cut off at CR", "PROXY TCP4 192.0.2.1 10.0.0.5 55555 25\r"},

		{"v2 wrong signature", "\r\n\r\n\x00\r\nQUIT\r\n\x11\x00\x0c" + ends4},
		{"v2 version 1", block(0x11, 0x11, ends4)},
		{"v2 version 3", block(0x31, 0x11, ends4)},
		{"v2 command 2", block(0x22, 0x11, ends4)},
		{"v2 family 4", block(0x21, 0x41, ends4)},
		{"v2 protocol 3", block(0x21, 0x13, ends4)},
		{"v2 too long", block(0x21, 0x11, ends4+addition(0x04, strings.Repeat("x", mostBlock)))},
		{"v2 too short for IPv4", block(0x21, 0x11, ends4[:11])},
		{"v2 too short for IPv6", block(0x21, 0x21, ends6[:35])},
		{"v2 cut off", block(0x21, 0x11, ends4)[:20]},
		{"v2 cut off in the signature", string(signature[:9])},
		{"v2 LOCAL cut off", block(0x20, 0x11, ends4)[:20]},
		{"v2 addition cut off", block(0x21, 0x11, ends4+"\x04\x00")},
		{"v2 addition longer than the header", block(0x21, 0x11, ends4+"\x04\x00\x02x")},
		{"v2 wrong checksum", sum[:len(sum)-1] + string([]byte{sum[len(sum)-1] ^ 1})},
		{"v2 changed below the checksum", strings.Replace(sum, "\xc0\x00\x02\x01", "\xc0\x00\x02\x02", 1)},
		{"v2 short checksum", block(0x21, 0x11, ends4+addition(typeCRC32C, "\x00\x00"))},
		{"v2 two checksums", summed(0x21, 0x11, ends4+addition(typeCRC32C, "\x00\x00\x00\x00"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				h, err := Read(r)
				if !errors.Is(err, ErrMalformed) || errors.Is(err, ErrSilent) || h != (Header{}) {
					t.Errorf("got %v, %v", h, err)
				}
			}
		})
	}
}

// TestToldAtOnce: what can't become a header is told before a read that would wait.
func TestToldAtOnce(t *testing.T) {
	for _, in := range []string{"E", "PRX", "PROXY TCP5 1.1.1", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r", string(signature) + "\x22\x11\x00\x0c", "\r\nE"} {
		waits := readerFunc(func([]byte) (int, error) { t.Fatalf("%q: reads on", in); return 0, io.EOF })
		if _, err := Read(io.MultiReader(strings.NewReader(in), waits)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestSilent(t *testing.T) {
	for _, cause := range []error{io.EOF, os.ErrDeadlineExceeded} {
		_, err := Read(iotest.ErrReader(cause))
		if !errors.Is(err, ErrSilent) || !errors.Is(err, cause) || errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", cause, err)
		}
	}
}

// FuzzRead holds Read against a reading of the whole input that does not care for exact reads.
func FuzzRead(f *testing.F) {
	for _, h := range headers {
		f.Add([]byte(h.in + behind))
	}
	f.Add([]byte("EHLO x\r\n"))
	f.Add([]byte("PROXY TCP4 192.0.2.1 10.0.0.5 55555\r\nPROXY"))
	f.Add([]byte(block(0x21, 0x11, ends4+"\x03\x00\x04\x00\x00")))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := Read(r)
		taken := in[:len(in)-r.Len()]
		slow := bytes.NewReader(in)
		if h2, err2 := Read(iotest.OneByteReader(slow)); h2 != h || (err == nil) != (err2 == nil) || err == nil && slow.Len() != r.Len() {
			t.Fatalf("octet by octet %v, %v; at once %v, %v", h2, err2, h, err)
		}
		if err != nil {
			if h != (Header{}) || errors.Is(err, ErrSilent) == errors.Is(err, ErrMalformed) || errors.Is(err, ErrSilent) && len(in) > 0 {
				t.Fatalf("%v, %v", h, err)
			}
			return
		}
		switch {
		case bytes.HasPrefix(taken, signature):
			if n := fixed + int(binary.BigEndian.Uint16(in[14:])); n != len(taken) || n > fixed+mostBlock {
				t.Fatalf("took %d octets of %d", len(taken), n)
			}
		case bytes.Index(in, crlf) != len(taken)-len(crlf) || len(taken) > longest:
			t.Fatalf("took %q", taken)
		}
		if h.Local {
			if h.Source != (netip.AddrPort{}) || h.Destination != (netip.AddrPort{}) {
				t.Fatalf("a client for %v", h)
			}
			return
		}
		for _, a := range []netip.Addr{h.Source.Addr(), h.Destination.Addr()} {
			if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
				t.Fatalf("address %v", a)
			}
		}
	})
}
