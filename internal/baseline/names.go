package baseline

// Names of the orders.
const (
	OrderPopularity = "popularity"
	OrderKNN        = "knn"
	OrderIALS       = "ials"
	OrderBPR        = "bpr" // item bias included: the production-like order
	OrderSASRec     = "sasrec"
	OrderBlend      = "blend"
)
