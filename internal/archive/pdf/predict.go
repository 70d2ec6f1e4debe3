package pdf

import (
	"errors"
	"io"
)

var errPredictor = errors.New("pdf: damaged predictor data")

// maxRow is how long a row of predicted data may be.
const maxRow = 1 << 20

// predict undoes the predictor function that the parameters of a filter name (ISO 32000-1 7.4.4.4).
func (w *walker) predict(r io.Reader, parms value, o *object) (io.Reader, error) {
	numbers := map[string]int64{"Predictor": 1, "Colors": 1, "BitsPerComponent": 8, "Columns": 1}
	for key := range numbers {
		v, err := w.last(parms, key, o)
		if err != nil {
			return nil, err
		}
		if v.kind == integer {
			numbers[key] = v.n
		}
	}
	if numbers["Predictor"] <= 1 {
		return r, nil
	}
	colors, bits, columns := numbers["Colors"], numbers["BitsPerComponent"], numbers["Columns"]
	if colors < 1 || colors > 32 || bits < 1 || bits > 16 || columns < 1 || columns > 8*maxRow || columns*colors*bits > 8*maxRow {
		return nil, errPredictor
	}
	p := &predictor{r: r, png: numbers["Predictor"] >= 10, pixel: int(max(1, colors*bits/8))}
	if !p.png && bits != 8 {
		return nil, errPredictor
	}
	row := int(columns*colors*bits+7) / 8
	p.row, p.above = make([]byte, row), make([]byte, row)
	return p, nil
}

// predictor undoes PNG predictors (RFC 2083 6) or that of TIFF, row by row.
type predictor struct {
	r          io.Reader
	png        bool
	pixel      int // octets of a pixel
	row, above []byte
	out        []byte // of row, not yet read
	err        error
}

func (p *predictor) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(p.out) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		if p.next(); len(p.out) == 0 {
			return 0, p.err
		}
	}
	n := copy(b, p.out)
	p.out = p.out[n:]
	return n, nil
}

func (p *predictor) next() {
	kind := [1]byte{}
	if p.png {
		if _, p.err = io.ReadFull(p.r, kind[:]); p.err != nil {
			return
		}
		p.row, p.above = p.above, p.row
	}
	n, err := io.ReadFull(p.r, p.row)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	p.err = err
	row := p.row[:n]
	p.out = row
	if !p.png {
		for i := p.pixel; i < n; i++ {
			row[i] += row[i-p.pixel]
		}
		return
	}
	if kind[0] > 4 {
		p.err, p.out = errPredictor, nil
		return
	}
	p.undo(kind[0], row)
}

func (p *predictor) undo(kind byte, row []byte) {
	for i := range row {
		var left, corner byte
		if i >= p.pixel {
			left, corner = row[i-p.pixel], p.above[i-p.pixel]
		}
		up := p.above[i]
		switch kind {
		case 1:
			row[i] += left
		case 2:
			row[i] += up
		case 3:
			row[i] += byte((int(left) + int(up)) / 2)
		case 4:
			row[i] += paeth(int(left), int(up), int(corner))
		}
	}
}

// paeth is RFC 2083 6.6.
func paeth(a, b, c int) byte {
	p := a + b - c
	pa, pb, pc := max(p-a, a-p), max(p-b, b-p), max(p-c, c-p)
	switch {
	case pa <= pb && pa <= pc:
		return byte(a)
	case pb <= pc:
		return byte(b)
	}
	return byte(c)
}
