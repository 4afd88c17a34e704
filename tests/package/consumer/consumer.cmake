# SPDX-License-Identifier: BSL-1.0
# The program that every consumer project builds once it has the target tunic::tunic: two
# translation units that both include tunic.

add_executable(consumer ${CMAKE_CURRENT_LIST_DIR}/main.cpp ${CMAKE_CURRENT_LIST_DIR}/server.cpp)
target_link_libraries(consumer PRIVATE tunic::tunic)
