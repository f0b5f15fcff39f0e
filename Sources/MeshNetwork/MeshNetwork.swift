// MeshNetwork
