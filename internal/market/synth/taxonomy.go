package synth

// productType is one kind of product. Names of types occur in titles; they are
// how complements show in text.
type productType struct {
	name   string
	price  float64 // of the middle tier, in currency units
	peak   float64 // day of the year of the highest demand; used when swing > 0
	swing  float64 // amplitude of the season in 0..1
	follow []edge  // complements: what a buyer needs next
}

// edge leads to the type of that name with a strength in 0..1.
type edge struct {
	to       string
	strength float64
}

type department struct {
	name  string
	types []productType
}

// departments is the taxonomy: 8 departments, 40 types. Complements form
// chains (shampoo, conditioner, hair mask, ...), mostly inside a department.
var departments = []department{
	{"Hair Care", []productType{
		{"Shampoo", 12, 0, 0, []edge{{"Conditioner", 1}}},
		{"Conditioner", 13, 0, 0, []edge{{"Hair Mask", .9}}},
		{"Hair Mask", 18, 0, 0, []edge{{"Hair Serum", .8}}},
		{"Hair Serum", 22, 0, 0, []edge{{"Hair Brush", .7}}},
		{"Hair Dryer", 60, 340, .4, []edge{{"Heat Protectant", 1}}},
		{"Heat Protectant", 15, 0, 0, []edge{{"Hair Serum", .8}}},
		{"Hair Brush", 14, 0, 0, []edge{{"Shampoo", .5}}},
	}},
	{"Skin Care", []productType{
		{"Face Wash", 11, 0, 0, []edge{{"Toner", 1}}},
		{"Toner", 14, 0, 0, []edge{{"Moisturizer", 1}}},
		{"Moisturizer", 24, 20, .4, []edge{{"Eye Cream", .8}}},
		{"Eye Cream", 28, 0, 0, []edge{{"Face Wash", .5}}},
		{"Sunscreen", 16, 190, 1, []edge{{"After Sun Gel", 1}}},
		{"After Sun Gel", 12, 200, .9, []edge{{"Moisturizer", .6}}},
	}},
	{"Makeup", []productType{
		{"Face Primer", 20, 0, 0, []edge{{"Foundation", 1}}},
		{"Foundation", 30, 0, 0, []edge{{"Setting Powder", 1}}},
		{"Setting Powder", 22, 0, 0, []edge{{"Makeup Sponge", .7}}},
		{"Makeup Sponge", 8, 0, 0, []edge{{"Face Primer", .5}}},
		{"Mascara", 14, 0, 0, []edge{{"Makeup Remover", 1}}},
		{"Makeup Remover", 10, 0, 0, []edge{{"Face Wash", .7}}},
	}},
	{"Nail Care", []productType{
		{"Base Coat", 9, 0, 0, []edge{{"Nail Polish", 1}}},
		{"Nail Polish", 8, 150, .3, []edge{{"Top Coat", 1}}},
		{"Top Coat", 9, 0, 0, []edge{{"Polish Remover", .9}}},
		{"Polish Remover", 6, 0, 0, []edge{{"Cuticle Oil", .8}}},
		{"Cuticle Oil", 11, 0, 0, []edge{{"Base Coat", .5}}},
	}},
	{"Shaving", []productType{
		{"Razor", 18, 160, .4, []edge{{"Shaving Cream", 1}}},
		{"Shaving Cream", 9, 160, .4, []edge{{"Aftershave Balm", 1}}},
		{"Aftershave Balm", 14, 0, 0, []edge{{"Beard Oil", .6}}},
		{"Beard Oil", 16, 0, 0, []edge{{"Razor", .5}}},
	}},
	{"Bath and Body", []productType{
		{"Body Wash", 9, 0, 0, []edge{{"Body Lotion", 1}}},
		{"Body Lotion", 12, 10, .5, []edge{{"Hand Cream", .8}}},
		{"Hand Cream", 8, 10, .9, []edge{{"Lip Balm", .8}}},
		{"Lip Balm", 5, 10, .9, []edge{{"Body Wash", .4}}},
	}},
	{"Oral Care", []productType{
		{"Toothbrush", 7, 0, 0, []edge{{"Toothpaste", 1}}},
		{"Toothpaste", 6, 0, 0, []edge{{"Mouthwash", 1}}},
		{"Mouthwash", 8, 0, 0, []edge{{"Dental Floss", .8}}},
		{"Dental Floss", 5, 0, 0, []edge{{"Toothbrush", .5}}},
	}},
	{"Fragrance", []productType{
		{"Eau de Parfum", 70, 350, .6, []edge{{"Travel Atomizer", 1}}},
		{"Travel Atomizer", 12, 180, .4, []edge{{"Body Mist", .7}}},
		{"Body Mist", 18, 180, .5, []edge{{"Scented Candle", .7}}},
		{"Scented Candle", 20, 340, .9, []edge{{"Eau de Parfum", .4}}},
	}},
}

// style is a taste cluster that titles name by one of its words.
type style struct {
	name  string
	words []string
}

var styles = []style{
	{"floral", []string{"Lavender", "Rose"}},
	{"citrus", []string{"Lemon", "Grapefruit"}},
	{"woody", []string{"Cedar", "Sandalwood"}},
	{"sweet", []string{"Vanilla", "Coconut"}},
	{"fresh", []string{"Mint", "Eucalyptus"}},
	{"marine", []string{"Ocean", "Sea Salt"}},
}

// tiers are price classes; the word, where there is one, stands in the title.
var tiers = []struct {
	word   string
	factor float64
}{{"Basic", .6}, {"", 1}, {"Luxe", 1.9}}

// claims and sizes are words of titles without any meaning for taste.
var (
	claims = []string{"Nourishing", "Daily", "Gentle", "Intense", "Organic", "Classic", "Pure", "Smoothing", "Repair", "Sensitive"}
	sizes  = []string{"Travel Size", "Twin Pack", "Value Pack", "Refill", "Original", "New Formula"}
)

// typeInfo is a product type in the flat numbering of types.
type typeInfo struct {
	productType
	department int
	follow     []link // edges by number
}

type link struct {
	to       int
	strength float64
}

// flatten numbers the types and resolves the edges.
func flatten() []typeInfo {
	number := map[string]int{}
	var all []typeInfo
	for d, dep := range departments {
		for _, t := range dep.types {
			number[t.name] = len(all)
			all = append(all, typeInfo{productType: t, department: d})
		}
	}
	for i := range all {
		for _, e := range all[i].productType.follow {
			all[i].follow = append(all[i].follow, link{number[e.to], e.strength})
		}
	}
	return all
}
