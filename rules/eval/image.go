package eval

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

var imageFunctions = []Function{
	{"image_count", func(_ *Settings, args []string) (Check, error) {
		return ofImages("image_count", args, false, func(_ *Mail, k imageKind) (float64, bool) { return float64(k.count), true })
	}},
	{"pixel_coverage", func(_ *Settings, args []string) (Check, error) {
		return ofImages("pixel_coverage", args, false, func(_ *Mail, k imageKind) (float64, bool) { return float64(k.pixels), true })
	}},
	{"image_to_text_ratio", imageToText((*text.Message).Body)},
	{"image_size_exact", compileImageSize},
	{"image_size_range", compileImageSizes},
	{"image_named", func(_ *Settings, args []string) (Check, error) {
		if len(args) != 1 {
			return nil, errors.New("eval: image_named needs a name")
		}
		return func(m *Mail) (int, string) { return yes(m.imageFacts().names[args[0]], args[0]) }, nil
	}},
	{"image_name_regex", compileImageName},
}

// imageToText makes the check of how many octets of text there are for each pixel.
func imageToText(of func(*text.Message) [][]byte) func(*Settings, []string) (Check, error) {
	return func(_ *Settings, args []string) (Check, error) {
		return ofImages("image_to_text_ratio", args, true, func(m *Mail, k imageKind) (float64, bool) {
			n := 0
			for _, p := range of(m.Text) {
				n += len(p)
			}
			return float64(n) / float64(k.pixels), n > 0 && k.pixels > 0
		})
	}
}

// imageKind is what the images of one kind are like, or of all.
type imageKind struct {
	count  int
	pixels int64
	sizes  map[size]bool
}

type size struct{ height, width int }

// imageFacts is what the images are like that are parts of a message, encoded in base64.
type imageFacts struct {
	kinds map[string]imageKind // gif, png, jpeg, all
	names map[string]bool
}

// maxImages bounds the images that are looked into, maxImageOctets how far.
const (
	maxImages      = 1000
	maxImageOctets = 4 << 20
)

func (m *Mail) imageFacts() *imageFacts {
	return m.images.get(func() *imageFacts {
		f := &imageFacts{kinds: map[string]imageKind{"gif": {}, "png": {}, "jpeg": {}, "all": {}}, names: map[string]bool{}}
		looked := 0
		m.Text.Content().Root().Walk(func(p *mail.Part) bool {
			kind, ok := strings.CutPrefix(p.Type, "image/")
			if kind == "jpg" {
				kind = "jpeg"
			}
			if _, known := f.kinds[kind]; ok && known && kind != "all" && p.IsLeaf() && p.Encoding == "base64" && looked < maxImages {
				looked++
				f.add(kind, p)
			}
			return true
		})
		return f
	})
}

func (f *imageFacts) add(kind string, p *mail.Part) {
	s, ok := measures[kind](bufio.NewReader(io.LimitReader(p.Open(), maxImageOctets)))
	ok = ok && s.height > 0 && s.width > 0
	for _, k := range []string{kind, "all"} {
		i := f.kinds[k]
		i.count++
		if ok {
			i.pixels += int64(s.height) * int64(s.width)
			if i.sizes == nil {
				i.sizes = map[size]bool{}
			}
			i.sizes[s] = true
		}
		f.kinds[k] = i
	}
	if ok && len(p.Names) > 0 {
		f.names[p.Names[0]] = true
	}
}

var measures = map[string]func(*bufio.Reader) (size, bool){"gif": measureGIF, "png": measurePNG, "jpeg": measureJPEG}

// measureGIF reads the logical screen descriptor (GIF89a 18).
func measureGIF(r *bufio.Reader) (size, bool) {
	var b [10]byte
	if _, err := io.ReadFull(r, b[:]); err != nil || string(b[:6]) != "GIF87a" && string(b[:6]) != "GIF89a" {
		return size{}, false
	}
	return size{int(binary.LittleEndian.Uint16(b[8:])), int(binary.LittleEndian.Uint16(b[6:]))}, true
}

// measurePNG looks for the IHDR chunk (PNG 11.2.2), which is the first in what is a PNG.
func measurePNG(r *bufio.Reader) (size, bool) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:8]); err != nil || string(b[:8]) != "\x89PNG\r\n\x1a\n" {
		return size{}, false
	}
	for {
		if _, err := io.ReadFull(r, b[:8]); err != nil || string(b[4:8]) == "IEND" {
			return size{}, false
		}
		if string(b[4:8]) == "IHDR" && binary.BigEndian.Uint32(b[:]) == 13 {
			if _, err := io.ReadFull(r, b[8:]); err != nil {
				return size{}, false
			}
			return size{int(binary.BigEndian.Uint32(b[12:])), int(binary.BigEndian.Uint32(b[8:]))}, true
		}
	}
}

// measureJPEG looks for the frame header (ITU T.81 B.2.2).
func measureJPEG(r *bufio.Reader) (size, bool) {
	var b [9]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil || b[0] != 0xff || b[1] != 0xd8 {
		return size{}, false
	}
	for {
		if _, err := io.ReadFull(r, b[:4]); err != nil || b[0] != 0xff || b[1] == 0xda || b[1] == 0xd9 {
			return size{}, false
		}
		length := int(binary.BigEndian.Uint16(b[2:]))
		if length < 2 {
			return size{}, false
		}
		if m := b[1]; m >= 0xc0 && m <= 0xcf && m != 0xc4 && m != 0xc8 && m != 0xcc {
			if _, err := io.ReadFull(r, b[4:]); err != nil {
				return size{}, false
			}
			return size{int(binary.BigEndian.Uint16(b[5:])), int(binary.BigEndian.Uint16(b[7:]))}, true
		}
		if _, err := r.Discard(length - 2); err != nil {
			return size{}, false
		}
	}
}

// imageArgument reads the kind that a function is asked for.
func imageArgument(name string, args []string) (string, error) {
	if len(args) > 0 {
		switch args[0] {
		case "gif", "png", "jpeg", "all":
			return args[0], nil
		}
	}
	return "", fmt.Errorf("eval: the first argument of %s is gif, png, jpeg or all, not %q", name, args)
}

// ofImages makes a check of whether a measure of the images of a kind lies between two arguments, the upper one excluded if
// below.
func ofImages(name string, args []string, below bool, measure func(*Mail, imageKind) (float64, bool)) (Check, error) {
	kind, err := imageArgument(name, args)
	if err != nil {
		return nil, err
	}
	low, high, err := bounds(name, args[1:])
	return func(m *Mail) (int, string) {
		v, ok := measure(m, m.imageFacts().kinds[kind])
		return yes(ok && v >= low && v <= high && (!below || v != high), strconv.FormatFloat(v, 'g', 6, 64))
	}, err
}

func compileImageSize(_ *Settings, args []string) (Check, error) {
	kind, err := imageArgument("image_size_exact", args)
	if err != nil {
		return nil, err
	}
	h, err := whole("image_size_exact", args, 1)
	if err != nil {
		return nil, err
	}
	w, err := whole("image_size_exact", args, 2)
	return func(m *Mail) (int, string) { return yes(m.imageFacts().kinds[kind].sizes[size{h, w}], "") }, err
}

func compileImageSizes(_ *Settings, args []string) (Check, error) {
	const name = "image_size_range"
	kind, err := imageArgument(name, args)
	if err != nil {
		return nil, err
	}
	var low [4]float64 // least height and width, greatest height and width
	for i := range low {
		if low[i], err = number(name, args, i+1, float64(i/2)*noBound); err != nil {
			return nil, err
		}
	}
	return func(m *Mail) (int, string) {
		for s := range m.imageFacts().kinds[kind].sizes {
			h, w := float64(s.height), float64(s.width)
			if h >= low[0] && w >= low[1] && h <= low[2] && w <= low[3] {
				return 1, fmt.Sprintf("%dx%d", s.height, s.width)
			}
		}
		return 0, ""
	}, nil
}

func compileImageName(_ *Settings, args []string) (Check, error) {
	if len(args) != 1 {
		return nil, errors.New("eval: image_name_regex needs a pattern")
	}
	p, err := compilePattern(args[0])
	if err != nil {
		return nil, err
	}
	return func(m *Mail) (int, string) {
		for name := range m.imageFacts().names {
			if _, _, ok, _ := p.Find([]byte(name), 0); ok {
				return 1, name
			}
		}
		return 0, ""
	}, nil
}

// compilePattern compiles a pattern that is the argument of a function, with signs around it or without.
func compilePattern(expr string) (*pattern.Pattern, error) {
	inner, o, err := delimited(expr)
	if err != nil {
		inner = expr
	}
	p, err := pattern.Compile(inner, o)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	return p, nil
}
