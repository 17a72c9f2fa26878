package nn

import "github.com/gr2/gr2/internal/kernel"

// embed is y[i] = table[ids[i]].
type embed struct {
	table *Param
	ids   []int32
	y     *Var
}

// Embed looks up a row of the table for each id. A negative id gives a row of
// zeros (padding).
func (t *Tape) Embed(table *Param, ids []int32) *Var {
	o := t.embeds.put(embed{table, ids, t.result(len(ids), table.Cols, table.grad())})
	for i, id := range ids {
		if id < 0 {
			clear(o.y.row(i))
			continue
		}
		copy(o.y.row(i), table.row(id))
	}
	return t.record(o.y, o)
}

// backward is serial: two ids may name the same row.
func (o *embed) backward(*Tape) {
	for i, id := range o.ids {
		if id >= 0 {
			o.table.addGradRow(id, o.y.gradRow(i))
		}
	}
}

// addGradRow adds dy to the gradient of a row, if that row is trained.
func (p *Param) addGradRow(row int32, dy []float32) {
	if int(row) >= p.TrainFrom {
		g := p.Grad[int(row)*p.Cols : (int(row)+1)*p.Cols]
		kernel.Add(g, g, dy)
	}
}

// gather is y[i] = x[rows[i]].
type gather struct {
	x, y *Var
	rows []int32
}

// Rows selects rows of x; one may be selected several times.
func (t *Tape) Rows(x *Var, rows []int32) *Var {
	o := t.gathers.put(gather{x, t.result(len(rows), x.Cols, x.Grad), rows})
	for i, r := range rows {
		copy(o.y.row(i), x.row(int(r)))
	}
	return t.record(o.y, o)
}

func (o *gather) backward(*Tape) {
	o.x.open()
	for i, r := range o.rows {
		g := o.x.gradRow(int(r))
		kernel.Add(g, g, o.y.gradRow(i))
	}
}
