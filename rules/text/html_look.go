package text

import (
	"bytes"
	"regexp"
	"strconv"
)

// comment implements tokens.
func (r *renderer) comment(b []byte) {
	if len(r.h.Comments) < maxTexts {
		r.h.Comments = append(r.h.Comments, b)
	}
}

// declaration implements tokens.
func (r *renderer) declaration(b []byte) {
	if len(b) >= 9 && equalFold(b[2:9], "doctype") {
		r.h.Tags++
		r.h.Elements++
		r.h.known[tagDoctype] = 1
	}
}

// goodFace is what the name of a font is like.
var goodFace = regexp.MustCompile(`(?i)^\s*["'.]?[a-z ][a-z -]*[a-z]\d?["']?(?:,\s*["']?[a-z][a-z -]*[a-z]\d?["']?)*;?\n?$`)

// look takes note of what else start tags tell.
func (r *renderer) look(id uint8, attrs []attribute) {
	switch id {
	case tagFont:
		if v, ok := r.value(attrs, "face"); ok {
			r.lookAtFace(string(v))
		}
	case tagImg:
		if r.inside(tagA) && len(r.anchorAt) > 0 {
			r.anchorText = append(r.anchorText, "<img>\n"...)
		}
		r.lookAtSize(attrs)
	case tagForm:
		if v, ok := r.value(attrs, "action"); ok && bytes.Contains(bytes.ToLower(v), []byte("mailto:")) {
			r.h.MailtoForm = true
		}
	case tagObject, tagEmbed:
		r.h.Embeds = true
	case tagA:
		if len(r.anchorAt) < maxTexts && r.linkSize <= maxURIOctets {
			href, _ := r.href(attrs)
			r.anchorAt = append(r.anchorAt, len(r.anchorText))
			r.anchorLink = append(r.anchorLink, r.link(r.canonical(href)))
		}
	case tagTitle:
		if len(r.titleAt) < maxTexts {
			r.titleAt = append(r.titleAt, len(r.titleText))
		}
	}
}

func (r *renderer) lookAtFace(v string) {
	if v != r.face {
		r.face, r.faceBad = v, !goodFace.MatchString(v[:min(len(v), 1000)])
	}
	r.h.BadFace = r.h.BadFace || r.faceBad
}

// lookAtSize adds up the sizes of images.
func (r *renderer) lookAtSize(attrs []attribute) {
	w, okW := r.value(attrs, "width")
	h, okH := r.value(attrs, "height")
	if okW && okH {
		r.h.ImageArea += pixels(w, 8) * pixels(h, 6)
	}
}

// pixels reads a length; what is none is taken for 200.
func pixels(b []byte, percent float64) float64 {
	b = bytes.TrimSuffix(b, []byte("\n"))
	number, isPercent := bytes.CutSuffix(b, []byte("%"))
	for _, c := range number {
		if c < '0' || c > '9' {
			return 200
		}
	}
	n, err := strconv.ParseFloat(string(number[:min(len(number), 300)]), 64)
	if err != nil || n <= 0 {
		return 200
	}
	if isPercent {
		n *= percent
	}
	return n
}
